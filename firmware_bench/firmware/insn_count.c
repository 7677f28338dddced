/* QEMU TCG plugin: which blocks of guest code ran between two marker functions, and how often.
 *
 *   -plugin insn_count.so,begin=0x1a4,end=0x1ac,out=blocks.txt
 *
 * At each arrival at `end` it appends to `out` one line per block that ran since `begin`:
 *   block ADDRESS BYTES INSTRUCTIONS EXECUTIONS TAKEN     (address hexadecimal)
 * and, last,
 *   roi INSTRUCTIONS
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
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS = 0 };

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

EXPORTED int qemu_plugin_version = 1;

typedef struct block {
    uint64_t address, bytes, instructions, executions, taken;
    struct block *next;
} block_t;

static block_t *blocks;   /* every block ever translated; searched at translation only */
static block_t *previous; /* the block that ran before this one inside the region, or NULL */
static bool counting;
static uint64_t begin_address, end_address;
static FILE *out;

static void start_region(void)
{
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
    *block = (block_t){.address = address, .bytes = bytes, .instructions = instructions};
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

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    block_t *const block =
        find_or_add(qemu_plugin_tb_vaddr(tb), block_bytes(tb), qemu_plugin_tb_n_insns(tb));
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execution, QEMU_PLUGIN_CB_NO_REGS, block);
}

/* `info` (qemu_info_t) is not needed. An answer other than 0 makes QEMU stop with an error. */
EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "begin=", 6) == 0) {
            begin_address = strtoull(argv[i] + 6, NULL, 0);
        } else if (strncmp(argv[i], "end=", 4) == 0) {
            end_address = strtoull(argv[i] + 4, NULL, 0);
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        } else {
            fprintf(stderr, "insn_count: unknown argument %s\n", argv[i]);
            return 1;
        }
    }
    if (begin_address == 0 || end_address == 0 || out == NULL) {
        fprintf(stderr, "insn_count: begin=, end= and a writable out= are needed\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
