/* The bench of a real board: it runs the model over a serial line. One request, one answer; lines
 * are those of serial_line.h. SEQ is any word; the answer repeats it.
 *
 *   SEQ hello                     SEQ ok dlink-serial 1 board=.. core=.. cpuid=.. clock=.. counter=..
 *                                     emulated=.. model=.. hash=.. input=.. output=.. arena=.. chunk=..
 *   SEQ input OFFSET HEX          SEQ ok NEXT_OFFSET
 *   SEQ run COUNT INPUT_CRC       SEQ ok OUTPUT_CRC CYCLES CYCLES ...    (one number a run)
 *   SEQ output OFFSET COUNT       SEQ ok HEX
 *   SEQ stack                     SEQ ok BYTES      (runs the model once more)
 *   anything else                 SEQ error CODE DETAIL
 *
 * Every request may be repeated. A line whose SEQ cannot be trusted is answered with SEQ "-", and so
 * is a bare `hello`, for a person at a terminal; the same line greets after a reset. A fault says
 * `fault pc=.. lr=..` and starts the board anew. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "board_port.h"
#include "console.h"
#include "model.h"
#include "serial_line.h"
#include "stack_paint.h"

enum { GUARD_BYTES = 32, GUARD = 0xC3, CHUNK_BYTES = 192, MOST_RUNS = 16 };

static const board_t *board;
static int8_t input[DLINK_MODEL_INPUT_BYTES] __attribute__((aligned(8)));

/* What the model writes, each with a guard behind it that a write out of bounds would spoil. */
static struct {
    uint8_t bytes[DLINK_MODEL_ARENA_BYTES] __attribute__((aligned(DLINK_MODEL_ARENA_ALIGN)));
    uint8_t guard[GUARD_BYTES];
} arena;
static struct {
    int8_t bytes[DLINK_MODEL_OUTPUT_BYTES] __attribute__((aligned(8)));
    uint8_t guard[GUARD_BYTES];
} output;

static void refuse(const char *seq, const char *code, const char *detail)
{
    say(seq);
    say(" error ");
    say(code);
    if (detail[0] != '\0') {
        say(" ");
        say(detail);
    }
    say("\n");
}

static void begin_answer(const char *seq)
{
    say(seq);
    say(" ok ");
}

static void say_field(const char *name, uint32_t value)
{
    say(name);
    say_unsigned(value);
}

/* Whether board_cycles moves at all: an emulator's may not. */
static bool counter_moves(void)
{
    const uint32_t begin = board_cycles();
    for (volatile int i = 0; i < 1000; ++i) {
    }
    return board_cycles() != begin;
}

static void answer_hello(const char *seq)
{
    const volatile uint32_t *const cpuid = (const volatile uint32_t *)0xE000ED00u;
    begin_answer(seq);
    say("dlink-serial 1 board=");
    say(board->name);
    say(" core=");
    say(board->core);
    say(" cpuid=");
    say_hex32(*cpuid);
    say_field(" clock=", board->clock_hz);
    say_field(" counter=", counter_moves());
    say_field(" emulated=", board->emulated);
    say(" model=" DLINK_MODEL_NAME " hash=" DLINK_MODEL_HASH);
    say_field(" input=", DLINK_MODEL_INPUT_BYTES);
    say_field(" output=", DLINK_MODEL_OUTPUT_BYTES);
    say_field(" arena=", DLINK_MODEL_ARENA_BYTES);
    say_field(" chunk=", CHUNK_BYTES);
    say("\n");
}

static void hello(const char *const words[])
{
    answer_hello(words[0]);
}

static void take_input(const char *const words[])
{
    const char *const hex = words[3];
    const size_t count = strlen(hex) / 2;
    uint32_t offset = 0;
    if (!parse_unsigned(words[2], sizeof input, &offset) || count > sizeof input - offset) {
        refuse(words[0], "out-of-range", words[2]);
        return;
    }
    for (const char *digit = hex; *digit != '\0'; ++digit) {
        if (hex_digit(*digit) < 0) {
            refuse(words[0], "bad-argument", "hex");
            return;
        }
    }
    if (count == 0 || strlen(hex) % 2 != 0 || count > CHUNK_BYTES) {
        refuse(words[0], "bad-argument", "length");
        return;
    }
    for (size_t i = 0; i < count; ++i) {
        input[offset + i] = (int8_t)(hex_digit(hex[2 * i]) * 16 + hex_digit(hex[2 * i + 1]));
    }
    begin_answer(words[0]);
    say_unsigned(offset + (uint32_t)count);
    say("\n");
}

/* One call of the model; apart, so that timing and painting have the same frame below them. void
 * pointers, because an int16 model declares its tensors otherwise. */
static __attribute__((noinline)) dlink_status_t invoke(void)
{
    return dlink_model_invoke((const void *)input, (void *)output.bytes, arena.bytes,
                              sizeof arena.bytes);
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

/* Whether status and guards are as they should be after a call; if not, says so. */
static bool call_was_good(const char *seq, dlink_status_t status)
{
    const char code[2] = {(char)('0' + (int)status % 10), '\0'};
    if (status != DLINK_OK) {
        refuse(seq, "status", code);
    } else if (!guard_is_intact(arena.guard)) {
        refuse(seq, "arena-overrun", "");
    } else if (!guard_is_intact(output.guard)) {
        refuse(seq, "output-overrun", "");
    } else {
        return true;
    }
    return false;
}

/* A model must not rely on what arena and output held before. */
static void spoil_buffers(void)
{
    memset(&arena, GUARD, sizeof arena);
    memset(&output, GUARD, sizeof output);
}

static void run(const char *const words[])
{
    uint32_t cycles[MOST_RUNS];
    uint32_t count = 0, told = 0, first = 0;
    if (!parse_unsigned(words[2], MOST_RUNS, &count) || count == 0) {
        refuse(words[0], "out-of-range", words[2]);
        return;
    }
    if (!parse_hex32(words[3], &told)) {
        refuse(words[0], "bad-argument", "crc");
        return;
    }
    if (crc32(input, sizeof input) != told) {
        refuse(words[0], "input-differs", "");
        return;
    }
    spoil_buffers();
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t begin = board_cycles();
        const dlink_status_t status = invoke();
        cycles[i] = board_cycles() - begin;
        if (!call_was_good(words[0], status)) {
            return;
        }
        const uint32_t crc = crc32(output.bytes, sizeof output.bytes);
        if (i != 0 && crc != first) {
            refuse(words[0], "output-changes", "");
            return;
        }
        first = crc;
    }
    begin_answer(words[0]);
    say_hex32(first);
    for (uint32_t i = 0; i < count; ++i) {
        say_field(" ", cycles[i]);
    }
    say("\n");
}

static void send_output(const char *const words[])
{
    uint32_t offset = 0, count = 0;
    if (!parse_unsigned(words[2], sizeof output.bytes, &offset) ||
        !parse_unsigned(words[3], CHUNK_BYTES, &count) || count > sizeof output.bytes - offset) {
        refuse(words[0], "out-of-range", "");
        return;
    }
    begin_answer(words[0]);
    for (uint32_t i = 0; i < count; ++i) {
        say_hex8((uint8_t)output.bytes[offset + i]);
    }
    say("\n");
}

static __attribute__((noinline)) dlink_status_t invoke_painted(size_t *stack_bytes)
{
    uint32_t *const top = stack_pointer();
    paint_stack(board->stack_bottom, top);
    const dlink_status_t status = dlink_model_invoke((const void *)input, (void *)output.bytes,
                                                     arena.bytes, sizeof arena.bytes);
    *stack_bytes = painted_depth(board->stack_bottom, top);
    return status;
}

static void measure_stack(const char *const words[])
{
    size_t stack_bytes = 0;
    if (board->stack_bottom == NULL) {
        refuse(words[0], "no-stack", "");
        return;
    }
    spoil_buffers();
    if (call_was_good(words[0], invoke_painted(&stack_bytes))) {
        begin_answer(words[0]);
        say_unsigned((uint32_t)stack_bytes);
        say("\n");
    }
}

static const struct {
    const char *name;
    size_t words; /* SEQ and name included */
    void (*serve)(const char *const words[]);
} commands[] = {
    {"hello", 2, hello},           {"input", 4, take_input},    {"run", 4, run},
    {"output", 4, send_output},    {"stack", 2, measure_stack},
};

static void serve(const line_t *line)
{
    if (line->count < 2) {
        refuse(line->words[0], "bad-command", "");
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; ++i) {
        if (strcmp(line->words[1], commands[i].name) == 0) {
            if (line->count == commands[i].words) {
                commands[i].serve(line->words);
            } else {
                refuse(line->words[0], "bad-argument", "count");
            }
            return;
        }
    }
    refuse(line->words[0], "bad-command", "");
}

void bench_main(void)
{
    static line_t line;
    board = board_init();
    answer_hello("-");
    for (;;) {
        switch (line_read(&line)) {
        case LINE_GOOD:
            serve(&line);
            break;
        case LINE_BARE:
            if (strcmp(line.text, "hello") == 0) {
                answer_hello("-");
            } else {
                refuse("-", "no-checksum", "");
            }
            break;
        case LINE_BAD_CRC:
            refuse("-", "bad-checksum", "");
            break;
        case LINE_TOO_LONG:
            refuse("-", "too-long", "");
            break;
        case LINE_TOO_MANY_WORDS:
            refuse(line.words[0], "bad-argument", "count");
            break;
        }
    }
}
