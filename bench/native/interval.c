/*
 * Subscriptions to address ranges, and invalidations that look for those that overlap.
 *   interval COUNT OVERLAP tree     a balanced tree (AVL) with the greatest end of each subtree
 *   interval COUNT OVERLAP list     a list in the order of memory, walked from end to end
 *   interval COUNT 1 churn          the tree again: one subscription goes, another comes
 * Two more arguments: pages from the start of a range to that of the next, pages in a range.
 * An invalidation is, as between start and end in a kernel: under a lock, open it and move the
 * sequence of each that overlaps; under the lock again, close it. No callbacks.
 */
#define _GNU_SOURCE
#include "round.h"
#include <pthread.h>
#include <sys/mman.h>

#define PER_SAMPLE_MAX 4096

struct subscription {
  struct subscription *left, *right, *next;
  uint64_t start, last, greatest;
  int height;
  unsigned long seq, active;
  /* The object that it is part of, in a driver. */
  char owner[184];
};

static struct subscription *root, *list, **all;
static uint32_t count, overlap;
static uint32_t stride_pages = 10, range_pages = 8;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct subscription **hits;
static uint32_t hit_count, open_count;
static uint64_t moved;
static uint32_t state = 1;

static uint32_t next_random(void) { return mix(state++); }

/* ---- the tree ---- */

static int height(const struct subscription *node) { return node ? node->height : 0; }

static struct subscription *fixed(struct subscription *node) {
  struct subscription *left = node->left, *right = node->right;
  node->height = 1 + (height(left) > height(right) ? height(left) : height(right));
  node->greatest = node->last;
  if (left && left->greatest > node->greatest) node->greatest = left->greatest;
  if (right && right->greatest > node->greatest) node->greatest = right->greatest;
  return node;
}

static struct subscription *turned_right(struct subscription *node) {
  struct subscription *up = node->left;
  node->left = up->right;
  up->right = fixed(node);
  return fixed(up);
}

static struct subscription *turned_left(struct subscription *node) {
  struct subscription *up = node->right;
  node->right = up->left;
  up->left = fixed(node);
  return fixed(up);
}

static struct subscription *balanced(struct subscription *node) {
  int lean = height(node->left) - height(node->right);
  if (lean > 1) {
    if (height(node->left->left) < height(node->left->right)) node->left = turned_left(node->left);
    return turned_right(node);
  }
  if (lean < -1) {
    struct subscription *right = node->right;
    if (height(right->right) < height(right->left)) node->right = turned_right(right);
    return turned_left(node);
  }
  return fixed(node);
}

static int precedes(const struct subscription *a, const struct subscription *b) {
  return a->start != b->start ? a->start < b->start : a < b;
}

static struct subscription *with(struct subscription *node, struct subscription *added) {
  if (node == NULL) {
    added->left = added->right = NULL;
    return fixed(added);
  }
  if (precedes(added, node)) node->left = with(node->left, added);
  else node->right = with(node->right, added);
  return balanced(node);
}

static struct subscription *without_first(struct subscription *node, struct subscription **first) {
  if (node->left == NULL) {
    *first = node;
    return node->right;
  }
  node->left = without_first(node->left, first);
  return balanced(node);
}

static struct subscription *without(struct subscription *node, struct subscription *gone) {
  check(node != NULL, "it is not in the tree");
  if (node == gone) {
    if (node->right == NULL) return node->left;
    struct subscription *first;
    struct subscription *right = without_first(node->right, &first);
    first->left = node->left;
    first->right = right;
    return balanced(first);
  }
  if (precedes(gone, node)) node->left = without(node->left, gone);
  else node->right = without(node->right, gone);
  return balanced(node);
}

static void collect(struct subscription *node, uint64_t start, uint64_t last) {
  while (node != NULL && node->greatest >= start) {
    collect(node->left, start, last);
    if (node->start > last) return;
    if (node->last >= start) hits[hit_count++] = node;
    node = node->right;
  }
}

static void collect_list(uint64_t start, uint64_t last) {
  for (struct subscription *each = list; each != NULL; each = each->next) {
    if (each->start <= last && each->last >= start) hits[hit_count++] = each;
  }
}

/* ---- invalidations ---- */

static void invalidate(uint64_t start, uint64_t last, int by_list) {
  pthread_mutex_lock(&lock);
  open_count++;
  hit_count = 0;
  if (by_list) collect_list(start, last);
  else collect(root, start, last);
  for (uint32_t i = 0; i < hit_count; i++) {
    hits[i]->seq++;
    hits[i]->active++;
  }
  moved += hit_count;
  pthread_mutex_unlock(&lock);
  pthread_mutex_lock(&lock);
  for (uint32_t i = 0; i < hit_count; i++) hits[i]->active--;
  open_count--;
  pthread_mutex_unlock(&lock);
}

static struct sample measure_invalidate(int by_list, uint32_t repeats) {
  moved = 0;
  double start = now_ns();
  for (uint32_t i = 0; i < repeats; i++) {
    uint32_t at = next_random() % (count - overlap + 1);
    uint64_t from = (uint64_t)at * stride_pages * PAGE_BYTES;
    uint64_t pages = (uint64_t)(overlap - 1) * stride_pages + 1;
    invalidate(from, from + pages * PAGE_BYTES - 1, by_list);
  }
  double ns = now_ns() - start;
  check(moved == (uint64_t)repeats * overlap, "an invalidation missed or found too many");
  return (struct sample){ ns, repeats };
}

static struct sample measure_tree(void) { return measure_invalidate(0, PER_SAMPLE_MAX); }

static struct sample measure_list(void) {
  uint32_t repeats = (1 << 22) / count;
  if (repeats > PER_SAMPLE_MAX) repeats = PER_SAMPLE_MAX;
  return measure_invalidate(1, repeats);
}

static struct sample measure_churn(void) {
  double start = now_ns();
  for (uint32_t i = 0; i < PER_SAMPLE_MAX; i++) {
    struct subscription *each = all[next_random() % count];
    pthread_mutex_lock(&lock);
    root = without(root, each);
    pthread_mutex_unlock(&lock);
    pthread_mutex_lock(&lock);
    root = with(root, each);
    pthread_mutex_unlock(&lock);
  }
  return (struct sample){ now_ns() - start, PER_SAMPLE_MAX };
}

/* As in a kernel, whose own memory is mapped by huge pages; where there are none, by others. */
static void *huge_room(size_t bytes) {
  size_t huge = 2 << 20;
  size_t whole = (bytes + huge - 1) / huge * huge;
  void *at = aligned_alloc(huge, whole);
  check(at != NULL, "no memory");
#ifdef MADV_HUGEPAGE
  madvise(at, whole, MADV_HUGEPAGE);
#endif
  memset(at, 0, whole);
  return at;
}

static void subscribe_all(void) {
  all = room(count * sizeof *all);
  hits = room(count * sizeof *hits);
  struct subscription *made = huge_room(count * sizeof *made);
  for (uint32_t i = 0; i < count; i++) {
    all[i] = &made[i];
    made[i].next = i + 1 < count ? &made[i + 1] : NULL;
  }
  list = made;
  for (uint32_t i = count - 1; i > 0; i--) {
    uint32_t other = next_random() % (i + 1);
    struct subscription *kept = all[i];
    all[i] = all[other];
    all[other] = kept;
  }
  for (uint32_t i = 0; i < count; i++) {
    all[i]->start = (uint64_t)i * stride_pages * PAGE_BYTES;
    all[i]->last = all[i]->start + range_pages * PAGE_BYTES - 1;
    root = with(root, all[i]);
  }
}

int main(int argc, char **argv) {
  check(argc == 4 || argc == 6, "usage: interval COUNT OVERLAP tree|list|churn [STRIDE PAGES]");
  count = (uint32_t)atoi(argv[1]);
  overlap = (uint32_t)atoi(argv[2]);
  if (argc == 6) {
    stride_pages = (uint32_t)atoi(argv[4]);
    range_pages = (uint32_t)atoi(argv[5]);
    check(range_pages > 0 && range_pages <= stride_pages, "ranges overlap each other");
  }
  check(count >= overlap && overlap > 0, "too few subscriptions");
  subscribe_all();
  measure_churn();
  measure_tree();
  serve("ready", !strcmp(argv[3], "list")    ? measure_list
                 : !strcmp(argv[3], "churn") ? measure_churn
                                             : measure_tree);
}
