/*
 * Moving pages to the memory of a device and back, 64 at a time.
 *   move PAGES copy    memcpy of each page and nothing else
 *   move PAGES full    with the bookkeeping of a migration in plain C: lock, migration entry,
 *                      reference check, a frame from a bitmap, memcpy, new entry, unlock, free
 */
#include "round.h"

#define BATCH 64
#define VALID 1u
#define WRITE 2u
#define PRIVATE 8u
#define MIGRATION 16u
#define FLAG_LOCKED 1u
#define FLAG_OWNED 2u

struct zone {
  uint32_t first, count, next;
  uint32_t *used;
  uint8_t *bytes;
};

static uint32_t page_count;
static struct zone ram, device;
static uint32_t *table;
static int32_t *refs, *mapped;
static uint8_t *flags;
static uint32_t src[BATCH], dst[BATCH];

static uint8_t *bytes_of(uint32_t frame) {
  struct zone *zone = frame >= device.first ? &device : &ram;
  return zone->bytes + (size_t)(frame - zone->first) * PAGE_BYTES;
}

static uint32_t take(struct zone *zone) {
  uint32_t words = (zone->count + 31) / 32;
  uint32_t word = zone->next / 32;
  uint32_t skip = (1u << zone->next % 32) - 1;
  for (uint32_t looked = 0; looked <= words; looked++) {
    uint32_t left = ~(zone->used[word] | skip);
    uint32_t index = word * 32 + (left ? (uint32_t)__builtin_ctz(left) : 0);
    if (left != 0 && index < zone->count) {
      zone->used[word] |= 1u << index % 32;
      zone->next = index + 1 == zone->count ? 0 : index + 1;
      refs[zone->first + index] = 1;
      mapped[zone->first + index] = 0;
      flags[zone->first + index] = FLAG_LOCKED;
      return zone->first + index;
    }
    skip = 0;
    word = word + 1 == words ? 0 : word + 1;
  }
  check(0, "a zone is full");
  return 0;
}

static void put(uint32_t frame) {
  if (--refs[frame] > 0) return;
  struct zone *zone = frame >= device.first ? &device : &ram;
  uint32_t index = frame - zone->first;
  check(mapped[frame] == 0 && (zone->used[index / 32] >> index % 32 & 1), "freed in use");
  flags[frame] = 0;
  zone->used[index / 32] &= ~(1u << index % 32);
}

static uint32_t move_batch(uint32_t start, uint32_t count, struct zone *to, uint32_t kind) {
  uint32_t moved = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t old = table[start + i];
    uint32_t frame = old >> 8;
    src[i] = dst[i] = 0;
    if (old == 0 || (flags[frame] & FLAG_LOCKED)) continue;
    flags[frame] |= FLAG_LOCKED;
    table[start + i] = frame << 8 | MIGRATION | (old & WRITE);
    src[i] = old;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (src[i] == 0) continue;
    uint32_t frame = src[i] >> 8;
    if (refs[frame] == mapped[frame] && mapped[frame] == 1) continue;
    table[start + i] = src[i];
    flags[frame] &= ~FLAG_LOCKED;
    src[i] = 0;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (src[i] == 0) continue;
    dst[i] = take(to);
    memcpy(bytes_of(dst[i]), bytes_of(src[i] >> 8), PAGE_BYTES);
    flags[dst[i]] |= flags[src[i] >> 8] & FLAG_OWNED;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (src[i] == 0) continue;
    uint32_t frame = src[i] >> 8;
    mapped[dst[i]]++;
    table[start + i] = dst[i] << 8 | kind | (src[i] & WRITE);
    mapped[frame]--;
    flags[frame] &= ~FLAG_LOCKED;
    flags[dst[i]] &= ~FLAG_LOCKED;
    put(frame);
    moved++;
  }
  return moved;
}

static void move_all(struct zone *to, uint32_t kind) {
  uint32_t moved = 0;
  for (uint32_t start = 0; start < page_count; start += BATCH) {
    moved += move_batch(start, BATCH, to, kind);
  }
  check(moved == page_count, "pages stayed");
}

static struct sample measure_full(void) {
  double start = now_ns();
  move_all(&device, PRIVATE);
  move_all(&ram, VALID);
  return (struct sample){ now_ns() - start, 2.0 * page_count };
}

static struct sample measure_copy(void) {
  size_t bytes = PAGE_BYTES;
  double start = now_ns();
  for (uint32_t page = 0; page < page_count; page++) {
    memcpy(device.bytes + page * bytes, ram.bytes + page * bytes, bytes);
  }
  for (uint32_t page = 0; page < page_count; page++) {
    memcpy(ram.bytes + page * bytes, device.bytes + page * bytes, bytes);
  }
  return (struct sample){ now_ns() - start, 2.0 * page_count };
}

static struct zone zone_of(uint32_t first) {
  struct zone zone = { first, page_count, 0, room(page_count / 8 + 4), NULL };
  zone.bytes = room((size_t)page_count * PAGE_BYTES);
  return zone;
}

int main(int argc, char **argv) {
  check(argc == 3, "usage: move PAGES copy|full");
  page_count = (uint32_t)atoi(argv[1]);
  check(page_count > 0 && page_count % BATCH == 0, "whole batches only");
  ram = zone_of(16);
  device = zone_of(16 + page_count);
  table = room(page_count * sizeof *table);
  refs = room((16 + 2 * (size_t)page_count) * sizeof *refs);
  mapped = room((16 + 2 * (size_t)page_count) * sizeof *mapped);
  flags = room(16 + 2 * (size_t)page_count);
  for (uint32_t page = 0; page < page_count; page++) {
    uint32_t frame = take(&ram);
    flags[frame] = FLAG_OWNED;
    mapped[frame] = 1;
    table[page] = frame << 8 | VALID | WRITE;
    memcpy(bytes_of(frame), &page, sizeof page);
  }
  measure_full();
  for (uint32_t page = 0; page < page_count; page++) {
    uint32_t said;
    memcpy(&said, bytes_of(table[page] >> 8), sizeof said);
    check(said == page && (table[page] & 0xff) == (VALID | WRITE), "a page lost its content");
  }
  serve("ready", !strcmp(argv[2], "copy") ? measure_copy : measure_full);
}
