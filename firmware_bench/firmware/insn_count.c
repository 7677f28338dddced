/* QEMU TCG plugin: which blocks of guest code ran between two marker functions, and how often.
 *
 *   -plugin insn_count.so,begin=0x1a4,end=0x1ac,out=blocks.txt
 *
 * At each arrival at `end` it appends to `out` one line per block that ran since `begin`:
 *   block ADDRESS BYTES INSTRUCTIONS EXECUTIONS TAKEN     (address hexadecimal)
 * and, last,
 *   roi INSTRUCTIONS
 * With lines=8,line=8,flash=0x0:0x400000,except=0x1b0:0x1f0 it also watches what instructions
 * outside `except` read from the flash, through a cache of that many lines and bytes a line (fully
 * associative, the least recently used line goes out, empty at `begin`), and writes before `roi`
 *   flash READS MISSES
 * With calls=FILE it also tells whom the instructions served. FILE holds lines of
 *   caller FIRST END      code that calls kernels
 *   kernel FIRST END      code of kernels (END is the first address behind it; all hexadecimal)
 *   layer FIRST END       a layer's parameters, of which its kernel reads some before another's
 * A call lasts from the first block of a kernel to the next one of a caller, whatever else runs in
 * between, and belongs to the layer whose parameters it reads first. Written before `roi`, a line
 * for each layer that was called, in the order of FILE, and one if no layer was told:
 *   layer FIRST CALLS INSTRUCTIONS
 *   lost CALLS INSTRUCTIONS
 * TAKEN is how often another block than the next one in memory came after it, that is, how often
 * its last instruction was a branch that was taken.
 *
 * A block is one of QEMU's translation blocks: entered at its first instruction and left after its
 * last, so the product EXECUTIONS x INSTRUCTIONS is exact as long as nothing interrupts it: the
 * bench enables no interrupt, and a fault ends it. Both markers are called, hence begin a block.
 *
 * Plugin interface version 1 (QEMU 4.2 to 7.2 and later that still accept it). Debian ships no
 * header, so the functions used are declared here after QEMU's documentation.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint32_t qemu_plugin_meminfo_t;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *tb, void (*callback)(unsigned cpu, void *data),
    enum qemu_plugin_cb_flags flags, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_mem_cb(
    struct qemu_plugin_insn *insn,
    void (*callback)(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data),
    enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw, void *data);
extern unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
extern bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);

EXPORTED int qemu_plugin_version = 1;

typedef enum { OTHER, CALLER, KERNEL, LAYER } role_t;

typedef struct block {
    uint64_t address, bytes, instructions, executions, taken;
    role_t role;
    struct block *next;
} block_t;

static block_t *blocks;   /* every block ever translated; searched at translation only */
static block_t *previous; /* the block that ran before this one inside the region, or NULL */
static bool counting;
static uint64_t begin_address, end_address;
static FILE *out;

typedef struct {
    uint64_t first, end; /* end is the first address behind it */
} range_t;

enum { MAX_LINES = 64 };

enum { MAX_WATCHED = 1024 };

/* What calls= names: code of callers and kernels, parameters of layers with what they cost. */
typedef struct {
    role_t role;
    range_t range;
    uint64_t calls, instructions;
} watched_t;

static watched_t watched[MAX_WATCHED];
static size_t watched_count;
static struct {
    bool open;
    watched_t *layer; /* NULL until its parameters are read */
    uint64_t instructions;
} call;
static watched_t lost;

/* The flash's data cache; line_bytes is 0 where none is simulated. */
static range_t flash, excepted;
static uint64_t line_count, line_bytes, reads, misses;
static uint64_t held[MAX_LINES]; /* numbers of the lines held, the last used one first */
static uint64_t held_count;

static bool lies_in(uint64_t address, range_t range)
{
    return address >= range.first && address < range.end;
}

static void read_line(uint64_t line)
{
    uint64_t place = 0;
    while (place < held_count && held[place] != line) {
        ++place;
    }
    if (place == held_count) {
        ++misses;
        if (held_count < line_count) {
            ++held_count;
        } else {
            --place; /* the last one goes out */
        }
    }
    memmove(&held[1], &held[0], place * sizeof held[0]);
    held[0] = line;
}

/* Called at each access of an instruction that may be counted. Of reads and writes: asked for reads
 * alone, QEMU 7.2 reports the writes. */
static void on_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)cpu;
    (void)data;
    if (!counting || !lies_in(address, flash) || qemu_plugin_mem_is_store(info)) {
        return;
    }
    const uint64_t last = address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info)) - 1;
    ++reads;
    for (uint64_t line = address / line_bytes; line <= last / line_bytes; ++line) {
        read_line(line);
    }
}

static watched_t *find_watched(uint64_t address, bool of_layer)
{
    for (size_t i = 0; i < watched_count; ++i) {
        if ((watched[i].role == LAYER) == of_layer && lies_in(address, watched[i].range)) {
            return &watched[i];
        }
    }
    return NULL;
}

static void end_call(void)
{
    if (call.open) {
        watched_t *const layer = call.layer != NULL ? call.layer : &lost;
        layer->calls++;
        layer->instructions += call.instructions;
    }
    call.open = false;
}

static void follow_call(const block_t *block)
{
    if (block->role == CALLER) {
        end_call();
    } else if (block->role == KERNEL && !call.open) {
        call.open = true;
        call.layer = NULL;
        call.instructions = 0;
    }
    if (call.open) {
        call.instructions += block->instructions;
    }
}

/* Called at each access outside of callers. */
static void on_parameters(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)cpu;
    (void)info;
    (void)data;
    if (counting && call.open && call.layer == NULL) {
        call.layer = find_watched(address, true);
    }
}

static void report_calls(void)
{
    end_call();
    for (size_t i = 0; i < watched_count; ++i) {
        if (watched[i].calls != 0) {
            fprintf(out, "layer %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", watched[i].range.first,
                    watched[i].calls, watched[i].instructions);
        }
        watched[i].calls = watched[i].instructions = 0;
    }
    if (lost.calls != 0) {
        fprintf(out, "lost %" PRIu64 " %" PRIu64 "\n", lost.calls, lost.instructions);
    }
    lost.calls = lost.instructions = 0;
}

static void start_region(void)
{
    reads = misses = held_count = 0;
    for (block_t *block = blocks; block != NULL; block = block->next) {
        block->executions = block->taken = 0;
    }
    previous = NULL;
    counting = true;
}

static void end_region(void)
{
    uint64_t instructions = 0;
    for (const block_t *block = blocks; block != NULL; block = block->next) {
        if (block->executions == 0) {
            continue;
        }
        instructions += block->executions * block->instructions;
        fprintf(out, "block %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                block->address, block->bytes, block->instructions, block->executions, block->taken);
    }
    if (line_bytes != 0) {
        fprintf(out, "flash %" PRIu64 " %" PRIu64 "\n", reads, misses);
    }
    report_calls();
    fprintf(out, "roi %" PRIu64 "\n", instructions);
    fflush(out);
    counting = false;
}

/* Called before each execution of a block. */
static void on_execution(unsigned cpu, void *data)
{
    block_t *const block = data;
    (void)cpu;
    if (counting && previous != NULL && block->address != previous->address + previous->bytes) {
        previous->taken++;
    }
    if (block->address == begin_address) {
        start_region();
    } else if (!counting) {
        return;
    } else if (block->address == end_address) {
        end_region();
    } else {
        block->executions++;
        previous = block;
        follow_call(block);
    }
}

static block_t *find_or_add(uint64_t address, uint64_t bytes, uint64_t instructions)
{
    for (block_t *block = blocks; block != NULL; block = block->next) {
        if (block->address == address && block->bytes == bytes) {
            return block;
        }
    }
    block_t *const block = calloc(1, sizeof *block);
    if (block == NULL) {
        abort();
    }
    const watched_t *const code = find_watched(address, false);
    *block = (block_t){.address = address, .bytes = bytes, .instructions = instructions};
    block->role = code != NULL ? code->role : OTHER;
    block->next = blocks;
    return blocks = block;
}

/* Thumb instructions have two bytes, or four if the first halfword begins with 0b11101 or more
 * (Armv7-M ARM, A5.1). Not qemu_plugin_insn_size: QEMU 7.2 adds the halfword after an instruction
 * that it looked at to see whether the next one crosses a page. */
static uint64_t block_bytes(const struct qemu_plugin_tb *tb)
{
    const struct qemu_plugin_insn *const last =
        qemu_plugin_tb_get_insn(tb, qemu_plugin_tb_n_insns(tb) - 1);
    const uint8_t *const code = qemu_plugin_insn_data(last);
    const uint64_t last_bytes = code[1] >> 3 >= 0x1D ? 4 : 2;
    return qemu_plugin_insn_vaddr(last) + last_bytes - qemu_plugin_tb_vaddr(tb);
}

static void watch_accesses(const struct qemu_plugin_tb *tb,
                           void (*callback)(unsigned cpu, qemu_plugin_meminfo_t info,
                                            uint64_t address, void *data))
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), callback,
                                         QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    block_t *const block =
        find_or_add(qemu_plugin_tb_vaddr(tb), block_bytes(tb), qemu_plugin_tb_n_insns(tb));
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execution, QEMU_PLUGIN_CB_NO_REGS, block);
    if (line_bytes != 0 && !lies_in(block->address, excepted)) {
        watch_accesses(tb, on_access);
    }
    if (watched_count != 0 && block->role != CALLER) {
        watch_accesses(tb, on_parameters);
    }
}

static range_t parse_range(const char *text)
{
    char *rest;
    const uint64_t first = strtoull(text, &rest, 0);
    return (range_t){first, *rest == ':' ? strtoull(rest + 1, NULL, 0) : first};
}

/* Reads the file of calls=; returns whether every line was understood. */
static bool read_watched(const char *path)
{
    static const char *const words[] = {[CALLER] = "caller", [KERNEL] = "kernel", [LAYER] = "layer"};
    char word[8];
    range_t range;
    int got;
    FILE *const file = fopen(path, "r");
    if (file == NULL) {
        return false;
    }
    while ((got = fscanf(file, "%7s %" SCNx64 " %" SCNx64, word, &range.first, &range.end)) == 3) {
        role_t role = CALLER;
        while (role <= LAYER && strcmp(word, words[role]) != 0) {
            ++role;
        }
        if (role > LAYER || watched_count == MAX_WATCHED) {
            break;
        }
        watched[watched_count++] = (watched_t){.role = role, .range = range};
    }
    fclose(file);
    return got == EOF;
}

/* One argument NAME=VALUE; returns whether it is known. */
static bool take_argument(const char *argument)
{
    const char *const value = strchr(argument, '=') ? strchr(argument, '=') + 1 : "";
    if (strncmp(argument, "begin=", 6) == 0) {
        begin_address = strtoull(value, NULL, 0);
    } else if (strncmp(argument, "end=", 4) == 0) {
        end_address = strtoull(value, NULL, 0);
    } else if (strncmp(argument, "out=", 4) == 0) {
        out = fopen(value, "w");
    } else if (strncmp(argument, "lines=", 6) == 0) {
        line_count = strtoull(value, NULL, 0);
    } else if (strncmp(argument, "line=", 5) == 0) {
        line_bytes = strtoull(value, NULL, 0);
    } else if (strncmp(argument, "flash=", 6) == 0) {
        flash = parse_range(value);
    } else if (strncmp(argument, "except=", 7) == 0) {
        excepted = parse_range(value);
    } else if (strncmp(argument, "calls=", 6) == 0) {
        return read_watched(value);
    } else {
        return false;
    }
    return true;
}

/* `info` (qemu_info_t) is not needed. An answer other than 0 makes QEMU stop with an error. */
EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (!take_argument(argv[i])) {
            fprintf(stderr, "insn_count: unknown or unusable argument %s\n", argv[i]);
            return 1;
        }
    }
    if (begin_address == 0 || end_address == 0 || out == NULL) {
        fprintf(stderr, "insn_count: begin=, end= and a writable out= are needed\n");
        return 1;
    }
    if (line_bytes != 0 && (line_count == 0 || line_count > MAX_LINES)) {
        fprintf(stderr, "insn_count: lines= must be 1 to %d\n", MAX_LINES);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
