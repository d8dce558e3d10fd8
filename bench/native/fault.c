/*
 * A page fault handler as one writes it in C, over the same system calls that ours makes: a
 * memory file mapped twice, userfaultfd, a thread in poll.
 *   fault serve PAGES BATCH   touch every BATCH-th of so many pages that are in the file and not
 *                             mapped; the handler maps BATCH pages at a time
 *   fault drop PAGES          unmap pages, so many a call
 *   fault protect PAGES       write-protect pages, so many a call
 */
#define _GNU_SOURCE
#include "round.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif

/* Looks before the handler sleeps in poll, as ours does. */
#define SPINS 60

static size_t page_count;
static size_t batch;
static int uffd;
static char *user;
static uint64_t base;

static void map_batch(uint64_t address) {
  uint64_t start = base + (address - base) / (batch * PAGE_BYTES) * (batch * PAGE_BYTES);
  struct uffdio_continue run = { .range = { start, batch * PAGE_BYTES } };
  check(ioctl(uffd, UFFDIO_CONTINUE, &run) == 0, "UFFDIO_CONTINUE failed");
}

static void *handler(void *unused) {
  struct uffd_msg messages[16];
  int spins = 0;
  for (;;) {
    ssize_t bytes = read(uffd, messages, sizeof messages);
    if (bytes < 0) {
      check(errno == EAGAIN, "read failed");
      if (++spins < SPINS) continue;
      struct pollfd wait = { uffd, POLLIN, 0 };
      poll(&wait, 1, -1);
      spins = 0;
      continue;
    }
    spins = 0;
    for (size_t i = 0; i < bytes / sizeof messages[0]; i++) {
      map_batch(messages[i].arg.pagefault.address);
    }
  }
  return unused;
}

static void open_window(void) {
  size_t bytes = page_count * PAGE_BYTES;
  int file = memfd_create("bench", MFD_CLOEXEC);
  check(file >= 0 && ftruncate(file, bytes) == 0, "memfd_create failed");
  user = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  char *direct = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  check(user != MAP_FAILED && direct != MAP_FAILED, "mmap failed");
  memset(direct, 1, bytes);
  base = (uint64_t)user;
  uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  struct uffdio_api api = {
    .api = UFFD_API,
    .features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
  };
  check(uffd >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0, "no userfaultfd");
  struct uffdio_register run = {
    .range = { base, bytes },
    .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
  };
  check(ioctl(uffd, UFFDIO_REGISTER, &run) == 0, "UFFDIO_REGISTER failed");
  pthread_t thread;
  check(pthread_create(&thread, NULL, handler, NULL) == 0, "no thread");
}

static void drop(size_t page, size_t pages) {
  check(madvise(user + page * PAGE_BYTES, pages * PAGE_BYTES, MADV_DONTNEED) == 0, "madvise");
}

static volatile uint32_t sink;

static void touch(size_t step) {
  uint32_t sum = 0;
  for (size_t page = 0; page < page_count; page += step) {
    sum += *(volatile uint32_t *)(user + page * PAGE_BYTES);
  }
  sink = sum;
}

static struct sample measure_serve(void) {
  drop(0, page_count);
  double start = now_ns();
  touch(batch);
  return (struct sample){ now_ns() - start, page_count / batch };
}

static struct sample measure_drop(void) {
  touch(batch);
  double start = now_ns();
  for (size_t page = 0; page < page_count; page += batch) drop(page, batch);
  return (struct sample){ now_ns() - start, page_count / batch };
}

static struct sample measure_protect(void) {
  drop(0, page_count);
  touch(batch);
  double start = now_ns();
  for (size_t page = 0; page < page_count; page += batch) {
    struct uffdio_writeprotect run = {
      .range = { base + page * PAGE_BYTES, batch * PAGE_BYTES },
      .mode = UFFDIO_WRITEPROTECT_MODE_WP,
    };
    check(ioctl(uffd, UFFDIO_WRITEPROTECT, &run) == 0, "UFFDIO_WRITEPROTECT failed");
  }
  return (struct sample){ now_ns() - start, page_count / batch };
}

int main(int count, char **words) {
  check(count == 4, "usage: fault serve|drop|protect PAGES BATCH");
  page_count = strtoul(words[2], NULL, 10);
  batch = strtoul(words[3], NULL, 10);
  open_window();
  if (strcmp(words[1], "serve") == 0) serve("ready", measure_serve);
  else if (strcmp(words[1], "drop") == 0) serve("ready", measure_drop);
  else serve("ready", measure_protect);
  return 0;
}
