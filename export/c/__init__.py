"""An int8 .tflite becomes a plain C99 library: reader, plan, emit and the kernels it ships."""
