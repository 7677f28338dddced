/* Run the model on every window of windows.bin, write outputs.bin, and say on stdout, a line each:
 *   dlink-bench 1
 *   model NAME HASH
 *   windows COUNT
 *   stack BYTES          the deepest any call went below its caller
 *   done
 * or, before an exit code other than 0:
 *   error WHAT window=INDEX status=CODE
 *   fault ...            (startup.c)
 * With BENCH_CHUNK, a window is so many samples, pushed into one stream that goes on from window to
 * window: each writes what the output holds then.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "console.h"
#include "model.h"
#include "semihosting.h"
#include "stack_paint.h"

enum { GUARD_BYTES = 32, GUARD = 0xC3, ERROR_EXIT_CODE = 65 };

extern uint32_t ld_stack_bottom[];

#ifdef BENCH_CHUNK
enum { INPUT_BYTES = BENCH_CHUNK * DLINK_MODEL_SAMPLE_BYTES, WORK_BYTES = DLINK_MODEL_STREAM_BYTES };
#define WORK_ALIGN DLINK_MODEL_STREAM_ALIGN
#else
enum { INPUT_BYTES = DLINK_MODEL_INPUT_BYTES, WORK_BYTES = DLINK_MODEL_ARENA_BYTES };
#define WORK_ALIGN DLINK_MODEL_ARENA_ALIGN
#endif

static int8_t input[INPUT_BYTES] __attribute__((aligned(8)));

/* What the model writes, each with a guard behind it that a write out of bounds would spoil. */
static struct {
    _Alignas(WORK_ALIGN) uint8_t bytes[WORK_BYTES];
    uint8_t guard[GUARD_BYTES];
} arena;
static struct {
    int8_t bytes[DLINK_MODEL_OUTPUT_BYTES] __attribute__((aligned(8)));
    uint8_t guard[GUARD_BYTES];
} output;

void bench_main(void) __attribute__((noreturn));

/* The counting plugin watches these two addresses. noipa: neither inlined, cloned nor dropped. */
__attribute__((noipa)) void dlink_roi_begin(void)
{
    __asm__ volatile("");
}

__attribute__((noipa)) void dlink_roi_end(void)
{
    __asm__ volatile("");
}

static inline __attribute__((always_inline)) dlink_status_t call_model(void)
{
#ifdef BENCH_CHUNK
    int32_t made = 0;
    return dlink_model_push(arena.bytes, sizeof arena.bytes, input, BENCH_CHUNK, output.bytes,
                            &made);
#else
    return dlink_model_invoke((const void *)input, (void *)output.bytes, arena.bytes,
                              sizeof arena.bytes);
#endif
}

/* What a call finds in memory: nothing to rely on, or a stream. */
static void prepare(uint32_t window)
{
#ifdef BENCH_CHUNK
    if (window > 0) {
        return;
    }
#else
    (void)window;
#endif
    memset(&arena, GUARD, sizeof arena);
    memset(&output, GUARD, sizeof output);
#ifdef BENCH_CHUNK
    (void)dlink_model_stream_start(arena.bytes, sizeof arena.bytes);
#endif
}

/* One call of the model. Apart, so that the instructions of this function can be told from the
 * model's in the count. void pointers, because an int16 model declares its tensors otherwise. */
dlink_status_t bench_invoke(size_t *stack_bytes) __attribute__((noipa));
dlink_status_t bench_invoke(size_t *stack_bytes)
{
    uint32_t *const top = stack_pointer();
    paint_stack(ld_stack_bottom, top);
    dlink_roi_begin();
    const dlink_status_t status = call_model();
    dlink_roi_end();
    *stack_bytes = painted_depth(ld_stack_bottom, top);
    return status;
}

static __attribute__((noreturn)) void fail(const char *what, uint32_t window, uint32_t status)
{
    say("error ");
    say(what);
    say(" window=");
    say_unsigned(window);
    say(" status=");
    say_unsigned(status);
    say("\n");
    console_exit(ERROR_EXIT_CODE);
}

static bool guard_is_intact(const uint8_t *guard)
{
    for (size_t i = 0; i < GUARD_BYTES; ++i) {
        if (guard[i] != GUARD) {
            return false;
        }
    }
    return true;
}

static size_t run_window(uint32_t window)
{
    size_t stack_bytes = 0;
    prepare(window);
    const dlink_status_t status = bench_invoke(&stack_bytes);
    if (status != DLINK_OK) {
        fail("invoke", window, (uint32_t)status);
    }
    if (!guard_is_intact(arena.guard)) {
        fail("arena-overrun", window, 0);
    }
    if (!guard_is_intact(output.guard)) {
        fail("output-overrun", window, 0);
    }
    return stack_bytes;
}

void bench_main(void)
{
    say("dlink-bench 1\nmodel " DLINK_MODEL_NAME " " DLINK_MODEL_HASH "\n");
    const int32_t windows = semihost_open("windows.bin", SEMIHOST_READ);
    const int32_t outputs = semihost_open("outputs.bin", SEMIHOST_WRITE);
    if (windows < 0 || outputs < 0) {
        fail("open", 0, 0);
    }
    uint32_t count = 0;
    size_t deepest = 0;
    for (size_t got; (got = semihost_read(windows, input, sizeof input)) != 0; ++count) {
        if (got != sizeof input) {
            fail("truncated-windows", count, 0);
        }
        const size_t stack_bytes = run_window(count);
        deepest = stack_bytes > deepest ? stack_bytes : deepest;
        if (semihost_write(outputs, output.bytes, sizeof output.bytes) != sizeof output.bytes) {
            fail("write", count, 0);
        }
    }
    semihost_close(outputs);
    say("windows ");
    say_unsigned(count);
    say("\nstack ");
    say_unsigned((uint32_t)deepest);
    say("\ndone\n");
    console_exit(0);
}
