/*
 * What the kernel under us does with pages of 4 KiB of anonymous memory, timed from user space.
 *   kernel touch PAGES    first write to every page: trap, fault, clear, map
 *   kernel unmap PAGES    munmap of pages that were all written
 *   kernel fork PAGES     fork of a process with that many written pages, less fork of the same
 *                         process without them
 */
#define _GNU_SOURCE
#include "round.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t page_count;

static volatile char *mapped(void) {
  void *at = mmap(NULL, page_count * PAGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(at != MAP_FAILED, "mmap failed");
#ifdef MADV_NOHUGEPAGE
  /* -EINVAL from a kernel that knows no huge pages is as good. */
  madvise(at, page_count * PAGE_BYTES, MADV_NOHUGEPAGE);
#endif
  return at;
}

static void touch(volatile char *at) {
  for (size_t page = 0; page < page_count; page++) at[page * PAGE_BYTES] = 1;
}

static void unmap(volatile char *at) {
  check(munmap((void *)at, page_count * PAGE_BYTES) == 0, "munmap failed");
}

static struct sample measure_touch(void) {
  volatile char *at = mapped();
  double start = now_ns();
  touch(at);
  double ns = now_ns() - start;
  unmap(at);
  return (struct sample){ ns, page_count };
}

static struct sample measure_unmap(void) {
  volatile char *at = mapped();
  touch(at);
  double start = now_ns();
  unmap(at);
  return (struct sample){ now_ns() - start, page_count };
}

static double fork_ns(void) {
  double start = now_ns();
  pid_t child = fork();
  if (child == 0) _exit(0);
  double ns = now_ns() - start;
  check(child > 0, "fork failed");
  check(waitpid(child, NULL, 0) == child, "waitpid failed");
  return ns;
}

static struct sample measure_fork(void) {
  double empty = fork_ns();
  volatile char *at = mapped();
  touch(at);
  double full = fork_ns();
  unmap(at);
  return (struct sample){ full - empty, page_count };
}

int main(int argc, char **argv) {
  check(argc == 3, "usage: kernel touch|unmap|fork PAGES");
  page_count = (size_t)atol(argv[2]);
  check(page_count > 0, "no pages");
  struct sample (*measure)(void) = !strcmp(argv[1], "touch")   ? measure_touch
                                   : !strcmp(argv[1], "unmap") ? measure_unmap
                                                               : measure_fork;
  serve("ready", measure);
}
