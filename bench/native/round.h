/*
 * What every peer shares. A peer sets itself up, says one line about what it set up, and then
 * waits: one line in, one round, one line out, which is nanoseconds per unit. So it never runs
 * beside what it is compared with, and rounds of both alternate.
 */
#ifndef ROUND_H
#define ROUND_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE_BYTES 4096
#define ROUND_NS 20e6

/* What was measured, without its preparation. */
struct sample {
  double ns;
  double units;
};

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

static void check(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "bench peer: %s\n", what);
  exit(1);
}

static inline void *room(size_t bytes) {
  void *at = aligned_alloc(PAGE_BYTES, (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
  check(at != NULL, "no memory");
  memset(at, 0, bytes);
  return at;
}

/* The same number from the same page on both sides: which pattern a page belongs to. */
static inline uint32_t mix(uint32_t page) {
  page *= 2654435761u;
  page ^= page >> 15;
  page *= 2246822519u;
  return page ^ page >> 13;
}

static void serve(const char *ready, struct sample (*measure)(void)) {
  char line[64];
  printf("%s\n", ready);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct sample sum = measure(); /* the caches are somebody else's: not counted */
    sum.ns = sum.units = 0;
    while (sum.ns < ROUND_NS) {
      struct sample one = measure();
      sum.ns += one.ns;
      sum.units += one.units;
    }
    printf("%.6f\n", sum.ns / sum.units);
    fflush(stdout);
  }
}
#endif
