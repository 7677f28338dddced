"""An int8 .tflite becomes a plain C99 library: reader, plan, emit and the kernels it ships.

Use :func:`export.c.generate.generate` to write it and :class:`export.c.host.HostModel` to run it
on this machine. They are not re-exported here: a function beside the module of its name would be
the one or the other, depending on who imports first.
"""
