/* Plugin of QEMU's user emulator: what a guest executes between two marks.
 *
 * The guest marks a region by two system calls that fail and do nothing else: close(-20816) begins
 * it, close(-20817) ends it. Between them each translation block is counted (one addition inlined
 * into its code), and each data access goes through a model of the board's caches. Caches are empty
 * where a region begins.
 *
 * At each end of a region OUT.K is written, K from 0:
 *   one line a block: address, instructions, executions, code bytes in hexadecimal;
 *   last line: "# instructions N reads_writes N l1_misses N l2_misses N dram_lines N".
 * At each place where memory may shrink, and at each end of a region, the guest's resident memory is
 * read; OUT.memory gets the largest at the program's end.
 *
 * Arguments: out=PREFIX, caches=0|1, l1=KB, l2=KB, l3=KB, l1_ways=N, guest_end=ADDRESS (guest memory lies below).
 * Version 1 of the plugin interface (QEMU 4.2 to 8.2). Debian ships no header of it, so that what is
 * used is declared here. For one thread: counters are not atomic.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- QEMU's plugin interface, as far as it is used --------------------------------------------- */
#define EXPORTED __attribute__((visibility("default")))
typedef uint64_t plugin_id;
typedef uint32_t mem_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
    const char *target_name;
    struct { int minimum, current; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
} qemu_info;
enum { NO_REGISTERS = 0, READS_AND_WRITES = 3, ADD_U64 = 0 };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern unsigned qemu_plugin_mem_size_shift(mem_info);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
                                                  void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                             void (*)(unsigned, mem_info, uint64_t, void *), int, int,
                                             void *);
typedef void syscall_callback(plugin_id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t,
                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_callback *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORTED int qemu_plugin_version = 1;

/* --- Settings ---------------------------------------------------------------------------------- */
enum { MARK_BEGIN = -20816, MARK_END = -20817, LINE_SHIFT = 6, OUTER_WAYS = 16 };

typedef struct { int64_t close, brk, munmap, mremap, madvise, exit_group; } syscall_numbers;
/* Linux, include/uapi/asm-generic/unistd.h and arch/arm/tools/syscall.tbl. */
static const syscall_numbers AARCH64 = {
    .close = 57, .brk = 214, .munmap = 215, .mremap = 216, .madvise = 233, .exit_group = 94 };
static const syscall_numbers ARM = {
    .close = 6, .brk = 45, .munmap = 91, .mremap = 163, .madvise = 220, .exit_group = 248 };

static const char *out = "count";
static bool caches = true;
static unsigned cache_kb[3] = { 32, 512, 0 };
static unsigned l1_ways = 4;
static uint64_t guest_end = (uint64_t)1 << 40;
static syscall_numbers number;

/* --- Caches: set associative, the least recently used line goes --------------------------------- */
typedef struct {
    unsigned sets, ways;
    uint64_t *line; /* number of the line held, plus 1; 0 holds nothing */
    uint64_t *used;
    uint64_t misses;
} cache;

static cache levels[3];
static uint64_t now, accesses, dram_lines;
static bool counting;

static void cache_init(cache *c, unsigned kilobytes, unsigned ways)
{
    c->ways = ways;
    c->sets = kilobytes * 1024 / (1u << LINE_SHIFT) / ways;
    c->line = calloc((size_t)c->sets * ways, sizeof *c->line);
    c->used = calloc((size_t)c->sets * ways, sizeof *c->used);
}

static void cache_empty(cache *c)
{
    memset(c->line, 0, (size_t)c->sets * c->ways * sizeof *c->line);
    memset(c->used, 0, (size_t)c->sets * c->ways * sizeof *c->used);
    c->misses = 0;
}

/* Whether the line was there; it is afterwards. */
static bool cache_has(cache *c, uint64_t line)
{
    size_t first = line % c->sets * c->ways;
    uint64_t *held = c->line + first, *used = c->used + first;
    unsigned oldest = 0;

    for (unsigned i = 0; i < c->ways; i++) {
        if (held[i] == line + 1) {
            used[i] = ++now;
            return true;
        }
        if (used[i] < used[oldest])
            oldest = i;
    }
    c->misses++;
    held[oldest] = line + 1;
    used[oldest] = ++now;
    return false;
}

static void on_access(unsigned cpu, mem_info info, uint64_t address, void *unused)
{
    (void)cpu, (void)unused;
    if (!counting)
        return;
    accesses++;
    uint64_t last = (address + (1u << qemu_plugin_mem_size_shift(info)) - 1) >> LINE_SHIFT;
    for (uint64_t line = address >> LINE_SHIFT; line <= last; line++) {
        bool found = false;
        for (int k = 0; k < 3 && !found; k++)
            found = levels[k].sets && cache_has(&levels[k], line);
        if (!found)
            dram_lines++;
    }
}

/* --- Blocks ------------------------------------------------------------------------------------ */
enum { BUCKETS = 1 << 18 };

typedef struct block {
    struct block *next;
    uint64_t address, executed, executed_before;
    uint32_t instructions, bytes;
    uint8_t code[];
} block;

static block *blocks[BUCKETS];

static block *find_block(uint64_t address, uint32_t instructions, const uint8_t *code, uint32_t bytes)
{
    block **bucket = &blocks[(uint32_t)((address >> 1) * 2654435761u + instructions) % BUCKETS];

    for (block *b = *bucket; b; b = b->next)
        if (b->address == address && b->bytes == bytes && !memcmp(b->code, code, bytes))
            return b;
    block *b = calloc(1, sizeof *b + bytes);
    b->address = address;
    b->instructions = instructions;
    b->bytes = bytes;
    memcpy(b->code, code, bytes);
    b->next = *bucket;
    *bucket = b;
    return b;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *tb)
{
    uint8_t code[4096]; /* a block has at most 512 instructions of 4 bytes */
    uint32_t bytes = 0, n = (uint32_t)qemu_plugin_tb_n_insns(tb);

    (void)id;
    for (uint32_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        size_t size = qemu_plugin_insn_size(insn);
        if (bytes + size <= sizeof code) {
            memcpy(code + bytes, qemu_plugin_insn_data(insn), size);
            bytes += (uint32_t)size;
        }
        if (caches)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, NO_REGISTERS, READS_AND_WRITES, NULL);
    }
    block *b = find_block(qemu_plugin_tb_vaddr(tb), n, code, bytes);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &b->executed, 1);
}

/* --- Memory ------------------------------------------------------------------------------------ */
static uint64_t peak_kb;

/* Resident kB of the guest's own maps. QEMU's, and those of this plugin, lie above guest_end. */
static uint64_t resident_kb(void)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    uint64_t start, end, kb, sum = 0;

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
            if (start >= guest_end)
                break; /* maps are in order */
        } else if (sscanf(line, "Rss: %" SCNu64 " kB", &kb) == 1) {
            sum += kb;
        }
    }
    fclose(file);
    return sum;
}

static void look_at_memory(void)
{
    uint64_t kb = resident_kb();
    if (kb > peak_kb)
        peak_kb = kb;
}

static void write_memory(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.memory", out);
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    fprintf(file, "%" PRIu64 "\n", peak_kb * 1024);
    fclose(file);
}

/* --- Regions ----------------------------------------------------------------------------------- */
static void begin_region(void)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (block *b = blocks[i]; b; b = b->next)
            b->executed_before = b->executed;
    for (int k = 0; k < 3; k++)
        if (levels[k].sets)
            cache_empty(&levels[k]);
    accesses = dram_lines = 0;
    counting = true;
}

static void end_region(void)
{
    static int region;
    char path[4096];
    uint64_t instructions = 0;

    if (!counting)
        return;
    counting = false;
    snprintf(path, sizeof path, "%s.%d", out, region++);
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (block *b = blocks[i]; b; b = b->next) {
            uint64_t executed = b->executed - b->executed_before;
            if (!executed)
                continue;
            instructions += executed * b->instructions;
            fprintf(file, "%" PRIx64 " %" PRIu32 " %" PRIu64 " ", b->address, b->instructions,
                    executed);
            for (uint32_t j = 0; j < b->bytes; j++)
                fprintf(file, "%02x", b->code[j]);
            fputc('\n', file);
        }
    }
    fprintf(file, "# instructions %" PRIu64 " reads_writes %" PRIu64, instructions, accesses);
    fprintf(file, " l1_misses %" PRIu64 " l2_misses %" PRIu64 " dram_lines %" PRIu64 "\n",
            levels[0].misses, levels[1].misses, dram_lines);
    fclose(file);
}

static void on_syscall(plugin_id id, unsigned cpu, int64_t called, uint64_t a1, uint64_t a2,
                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (called == number.close && (int32_t)a1 == MARK_BEGIN) {
        begin_region();
    } else if (called == number.close && (int32_t)a1 == MARK_END) {
        end_region();
        look_at_memory();
    } else if (called == number.munmap || called == number.mremap || called == number.madvise ||
               called == number.brk || called == number.exit_group) {
        look_at_memory();
        if (called == number.exit_group)
            write_memory();
    }
}

/* --- Start ------------------------------------------------------------------------------------- */
static bool value_of(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);
    *value = argument + length + 1;
    return !strncmp(argument, name, length) && argument[length] == '=';
}

EXPORTED int qemu_plugin_install(plugin_id id, const qemu_info *info, int argc, char **argv)
{
    const char *value;

    for (int i = 0; i < argc; i++) {
        if (value_of(argv[i], "out", &value))
            out = strdup(value);
        else if (value_of(argv[i], "caches", &value))
            caches = atoi(value) != 0;
        else if (value_of(argv[i], "l1", &value))
            cache_kb[0] = (unsigned)atoi(value);
        else if (value_of(argv[i], "l2", &value))
            cache_kb[1] = (unsigned)atoi(value);
        else if (value_of(argv[i], "l3", &value))
            cache_kb[2] = (unsigned)atoi(value);
        else if (value_of(argv[i], "l1_ways", &value))
            l1_ways = (unsigned)atoi(value);
        else if (value_of(argv[i], "guest_end", &value))
            guest_end = strtoull(value, NULL, 0);
        else
            return fprintf(stderr, "count: unknown argument %s\n", argv[i]), 1;
    }
    number = strcmp(info->target_name, "arm") ? AARCH64 : ARM;
    cache_init(&levels[0], cache_kb[0], l1_ways);
    cache_init(&levels[1], cache_kb[1], OUTER_WAYS);
    cache_init(&levels[2], cache_kb[2], OUTER_WAYS);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
