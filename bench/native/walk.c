/*
 * Snapshot peers: a page table as on x86-64 (four levels of 512 entries of 8 bytes) copied into
 * one word of 8 bytes a page.
 *   walk PATTERN PAGES generic [write]   a walk as an operating system's: a function a level, a
 *                                        callback a table of the lowest level, each entry
 *                                        checked against what is requested of its page
 *   walk PATTERN PAGES translate         the least that C can do: the tables are known, and each
 *                                        entry is translated without a branch
 */
#include "round.h"

#define ENTRIES 512
#define PRESENT 1ull
#define WRITABLE 2ull
#define HUGE_PAGE 128ull
/* Of an entry that is not present: a page of a device. */
#define PRIVATE 4ull
#define FRAME_SHIFT 12
#define FRAME_MASK 0x000ffffffffff000ull

#define OUT_VALID (1ull << 63)
#define OUT_WRITE (1ull << 62)
#define REQ_FAULT OUT_VALID
#define REQ_WRITE OUT_WRITE
#define BASE 0x7f1200000000ull

typedef uint64_t entry;

static inline entry *below(entry upper) { return (entry *)(upper & FRAME_MASK); }
static inline unsigned index_at(uint64_t address, int level) {
  return address >> (FRAME_SHIFT + 9 * level) & (ENTRIES - 1);
}

/* ---- the generic walk ---- */

struct area {
  uint64_t start, end;
  int readable;
};

struct walk;
struct walk_ops {
  int (*enter_area)(uint64_t start, uint64_t end, struct walk *walk);
  int (*table)(entry *upper, uint64_t start, uint64_t end, struct walk *walk);
  int (*hole)(uint64_t start, uint64_t end, struct walk *walk);
};
struct walk {
  const struct walk_ops *ops;
  const struct area *areas;
  unsigned area_count;
  entry *top;
  void *private;
};

static inline uint64_t step_end(uint64_t at, uint64_t end, int level) {
  uint64_t bytes = 1ull << (FRAME_SHIFT + 9 * level);
  uint64_t next = (at + bytes) & ~(bytes - 1);
  return next - 1 < end - 1 ? next : end;
}

static int walk_level(entry *table, int level, uint64_t at, uint64_t end, struct walk *walk) {
  int result = 0;
  for (uint64_t next; at != end && result == 0; at = next) {
    entry *upper = &table[index_at(at, level)];
    next = step_end(at, end, level);
    if ((*upper & PRESENT) == 0) result = walk->ops->hole(at, next, walk);
    else if (level == 1) result = walk->ops->table(upper, at, next, walk);
    else result = walk_level(below(*upper), level - 1, at, next, walk);
  }
  return result;
}

static int walk_areas(uint64_t start, uint64_t end, struct walk *walk) {
  for (unsigned i = 0; i < walk->area_count && start < end; i++) {
    const struct area *area = &walk->areas[i];
    if (area->end <= start) continue;
    uint64_t stop = area->end < end ? area->end : end;
    int result = walk->ops->enter_area(start, stop, walk);
    if (result == 0) result = walk_level(walk->top, 3, start, stop, walk);
    if (result != 0) return result;
    start = stop;
  }
  return 0;
}

/* ---- what the snapshot does with it ---- */

struct look {
  uint64_t start;
  uint64_t *out;
  uint64_t defaults, mask;
  const volatile unsigned long *seq;
  unsigned long seen;
};

static inline int needs_fault(const struct look *look, uint64_t own, uint64_t have) {
  uint64_t request = (own & look->mask) | look->defaults;
  if ((request & REQ_FAULT) == 0) return 0;
  if ((request & REQ_WRITE) != 0 && (have & OUT_WRITE) == 0) return 1;
  return (have & OUT_VALID) == 0;
}

static int look_at_entry(const struct look *look, entry found, uint64_t *out) {
  uint64_t own = *out;
  uint64_t have = 0;
  if (found == 0) {
    if (needs_fault(look, own, 0)) return 1;
    *out = 0;
    return 0;
  }
  if (found & PRESENT) {
    have = OUT_VALID | (found & WRITABLE ? OUT_WRITE : 0);
    if (needs_fault(look, own, have)) return 1;
  } else {
    if ((found & PRIVATE) == 0) return 1;
    have = OUT_VALID | (found & WRITABLE ? OUT_WRITE : 0);
  }
  *out = (found & FRAME_MASK) >> FRAME_SHIFT | have;
  return 0;
}

static int look_at_table(entry *upper, uint64_t at, uint64_t end, struct walk *walk) {
  struct look *look = walk->private;
  entry table = *(volatile entry *)upper;
  uint64_t *out = &look->out[(at - look->start) >> FRAME_SHIFT];
  if ((table & PRESENT) == 0 || (table & HUGE_PAGE) != 0) return 1;
  entry *found = below(table) + index_at(at, 0);
  for (; at < end; at += PAGE_BYTES, found++, out++) {
    int result = look_at_entry(look, *(volatile entry *)found, out);
    if (result != 0) return result;
  }
  return 0;
}

static int look_at_hole(uint64_t at, uint64_t end, struct walk *walk) {
  struct look *look = walk->private;
  uint64_t *out = &look->out[(at - look->start) >> FRAME_SHIFT];
  for (; at < end; at += PAGE_BYTES, out++) {
    if (needs_fault(look, *out, 0)) return 1;
    *out = 0;
  }
  return 0;
}

static int enter_area(uint64_t start, uint64_t end, struct walk *walk) {
  (void)start, (void)end;
  return walk->areas[0].readable ? 0 : 1;
}

/* ---- what is measured ---- */

static entry *top;
static entry **leaves;
static uint64_t *out;
static unsigned page_count;
static uint64_t defaults;
static volatile unsigned long sequence;

static int snapshot(void) {
  /* Not constant for the compiler: in a kernel callbacks are reached through their pointers. */
  static const struct walk_ops callbacks = { enter_area, look_at_table, look_at_hole };
  static const struct walk_ops *volatile ops = &callbacks;
  struct area area = { BASE, BASE + (uint64_t)page_count * PAGE_BYTES, 1 };
  struct look look = { BASE, out, defaults, 0, &sequence, sequence };
  struct walk walk = { ops, &area, 1, top, &look };
  if (*look.seq != look.seen) return -1;
  return walk_areas(area.start, area.end, &walk);
}

__attribute__((noinline)) static void translate(const entry *leaf, uint64_t *to) {
  for (int i = 0; i < ENTRIES; i++) {
    uint64_t found = leaf[i];
    uint64_t keep = 0 - (uint64_t)(found != 0);
    to[i] = ((found & FRAME_MASK) >> FRAME_SHIFT | OUT_VALID | (found & WRITABLE) << 61) & keep;
  }
}

static struct sample measure_generic(void) {
  unsigned repeats = 1 + (1 << 18) / page_count;
  double start = now_ns();
  for (unsigned i = 0; i < repeats; i++) check(snapshot() == 0, "the walk failed");
  return (struct sample){ now_ns() - start, (double)repeats * page_count };
}

static struct sample measure_translate(void) {
  unsigned repeats = 1 + (1 << 18) / page_count;
  double start = now_ns();
  for (unsigned i = 0; i < repeats; i++) {
    for (unsigned leaf = 0; leaf < page_count / ENTRIES; leaf++) {
      translate(leaves[leaf], out + leaf * ENTRIES);
    }
  }
  return (struct sample){ now_ns() - start, (double)repeats * page_count };
}

static entry *table_at(entry *table, uint64_t address, int level) {
  entry *upper = &table[index_at(address, level)];
  if (*upper == 0) *upper = (entry)room(PAGE_BYTES) | PRESENT | WRITABLE;
  return below(*upper);
}

/* Must say what `pattern` of bench/mm-snapshot.ts says. */
static entry entry_of(const char *pattern, uint32_t page) {
  entry frame = (uint64_t)(mix(page + 7) % (1u << 24)) << FRAME_SHIFT | 1ull << 40;
  uint32_t dice = mix(page);
  if (!strcmp(pattern, "dense")) return frame | PRESENT | WRITABLE;
  if (!strcmp(pattern, "rights")) return frame | PRESENT | (dice & 1 ? WRITABLE : 0);
  if (!strcmp(pattern, "sparse")) return dice & 7 ? 0 : frame | PRESENT | WRITABLE;
  if (!strcmp(pattern, "private")) return frame | WRITABLE | (dice % 10 ? PRESENT : PRIVATE);
  check(!strcmp(pattern, "mixed"), "no such pattern");
  return (dice & 3) == 0 ? 0 : frame | PRESENT | ((dice & 3) == 1 ? 0 : WRITABLE);
}

int main(int argc, char **argv) {
  check(argc >= 4, "usage: walk PATTERN PAGES generic|translate [write]");
  page_count = (unsigned)atoi(argv[2]);
  check(page_count > 0 && page_count % ENTRIES == 0, "whole tables only");
  int is_generic = !strcmp(argv[3], "generic");
  if (argc > 4) defaults = REQ_FAULT | REQ_WRITE;
  top = room(PAGE_BYTES);
  leaves = room(page_count / ENTRIES * sizeof *leaves);
  out = room(page_count * sizeof *out);
  for (uint32_t page = 0; page < page_count; page++) {
    uint64_t address = BASE + (uint64_t)page * PAGE_BYTES;
    entry *leaf = table_at(table_at(table_at(top, address, 3), address, 2), address, 1);
    leaf[index_at(address, 0)] = entry_of(argv[1], page);
    leaves[page / ENTRIES] = leaf;
  }
  if (is_generic) measure_generic();
  else measure_translate();
  unsigned valid = 0, writable = 0;
  for (uint32_t page = 0; page < page_count; page++) {
    entry made = entry_of(argv[1], page);
    check((out[page] & ~(3ull << 62)) == (made & FRAME_MASK) >> FRAME_SHIFT, "a wrong frame");
    valid += (out[page] & OUT_VALID) != 0;
    writable += (out[page] & OUT_WRITE) != 0;
  }
  char ready[64];
  snprintf(ready, sizeof ready, "%u valid, %u writable", valid, writable);
  serve(ready, is_generic ? measure_generic : measure_translate);
}
