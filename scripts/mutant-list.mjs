/**
 * Mistakes that programmers make in code like this, one at a time in our own. `find` occurs once
 * in `file` and becomes `replace`. Numbers such as B-13 are exhibits of the museum
 * (`onespace explore --museum`), where the same mistake was made.
 */

export const MUTANTS = [
  {
    name: "sequence-stays",
    file: "src/notifier/invalidation.ts",
    find: "    notifier.seq++;\n",
    replace: "",
    why: "an event does not move the sequence, so a reader that it overtook commits (B-13)",
  },
  {
    name: "busy-reader",
    file: "src/notifier/subscriptions.ts",
    find: "if (!(yield* this.#quiet.until(isQuiet, deadlineMs, signal))) return undefined;",
    replace: "if (signal?.aborted) return undefined;",
    why: "a reader does not wait for open events and collides with the same one again and again",
  },
  {
    name: "refused-stays-open",
    file: "src/notifier/subscriptions.ts",
    find: "        this.#trace(REFUSED, invalidation);\n        this.#close(invalidation);\n",
    replace: "        this.#trace(REFUSED, invalidation);\n",
    why: "a refused event is not unwound: readers wait for ever for its end (B-79)",
  },
  {
    name: "late-subscriber",
    file: "src/notifier/subscriptions.ts",
    find: `    for (const invalidation of this.#active) {
      if (overlaps(invalidation, notifier)) invalidation.collideWith(notifier);
    }
`,
    replace: "",
    why: "who subscribes in the middle of an event reads what that event takes away (B-110)",
  },
  {
    name: "check-before-lock",
    file: "src/device/reading.ts",
    find: `    using _update = yield* lock.acquire();
    if (retry.retry()) continue;
`,
    replace: `    if (retry.retry()) continue;
    using _update = yield* lock.acquire();
`,
    why: "the driver asks whether to retry before it takes its lock (B-15)",
  },
  {
    name: "lock-kept-on-retry",
    file: "src/device/reading.ts",
    find: `    using _update = yield* lock.acquire();
    if (retry.retry()) continue;
    const committed = yield* reading.commit(ranges);
`,
    replace: `    const update = yield* lock.acquire();
    if (retry.retry()) continue;
    const committed = yield* reading.commit(ranges);
    update[Symbol.dispose]();
`,
    why: "a retry keeps the lock of the driver while it waits for an event that needs it (B-21)",
  },
  {
    name: "old-sequence",
    file: "src/notifier/collision-retry.ts",
    find: "    this.#seq = seq;\n",
    replace: "    if (this.#attempts === 1) this.#seq = seq;\n",
    why: "a retry keeps the sequence of the first attempt and collides for ever (B-73)",
  },
  {
    name: "device-lock-first",
    file: "src/driver/dmirror/dmirror.ts",
    find: "    const result = yield* migrateHome(this.#shadow, range);\n",
    replace: `    using _update = yield* this.lock.acquire();
    const result = yield* migrateHome(this.#shadow, range);
`,
    why: "the driver's lock is taken around code that takes mmapLock: the reverse order",
  },
  {
    name: "any-owner",
    file: "src/device/device-shadow.ts",
    find: "if (isOwn && owner === this.memory.owner) {",
    replace: "if (isOwn) {",
    why: "a device passes over the migrations of other devices, not only over its own",
  },
  {
    name: "refusal-forgotten",
    file: "src/device/device-shadow.ts",
    find: "if (update === undefined) return false;",
    replace: "if (update === undefined) return true;",
    why: "a callback that may not sleep says that it is done when the lock was taken (B-05)",
  },
  {
    name: "copies-before-dropping",
    file: "src/device/move.ts",
    find: "    forget(shadow, migration);\n  }\n",
    replace: "  }\n",
    why: "the device's own migration passes over its event and never drops the old entry",
  },
  {
    name: "keeps-what-goes-home",
    file: "src/device/move.ts",
    find: "    if (shadow !== undefined) forget(shadow, migration);\n",
    replace: "",
    why: "the device keeps its entry of a page that goes home and writes it after the copy",
  },
  {
    name: "exclusive-after-unlock",
    file: "src/driver/dmirror/dmirror-exclusive.ts",
    find: `    try {
      const found = yield* makeDeviceExclusive(space, chunk, frames, undefined);
      if (found !== count) return -EBUSY;
      return (yield* this.#enter(chunk, frames)) === count ? 0 : -EBUSY;
    } finally {
      putExclusive(space, frames);
    }
`,
    replace: `    const found = yield* makeDeviceExclusive(space, chunk, frames, undefined);
    putExclusive(space, frames);
    if (found !== count) return -EBUSY;
    return (yield* this.#enter(chunk, frames)) === count ? 0 : -EBUSY;
`,
    why: "an exclusive page is programmed after its lock was dropped, when a CPU may have it back",
  },
  {
    name: "woken-is-locked",
    file: "src/mm/exclusive.ts",
    find: "while (!pages.tryLock(frame)) yield* pages.waitUnlocked(frame);",
    replace: "if (!pages.tryLock(frame)) yield* pages.waitUnlocked(frame);",
    why: "who waited for a page's lock takes the wake-up for the lock",
  },
  {
    name: "munmap-tells-late",
    file: "src/mm/call/unmap.ts",
    find: "  const event = new Invalidation({ ...range, event: MMU_NOTIFY_UNMAP });\n",
    replace: `  space.cursor.begin();
  space.cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
  space.cursor.flush();
  const event = new Invalidation({ ...range, event: MMU_NOTIFY_UNMAP });
`,
    why: "frames go back before the devices that reach them are told",
  },
  {
    name: "rights-stay-in-tlb",
    file: "src/mm/cursor.ts",
    find: "return (old & ~pte & (PTE_VALID | PTE_WRITE)) !== 0;",
    replace: "return (old & ~pte & PTE_VALID) !== 0;",
    why: "a page that becomes read-only is not flushed from the CPU's shadow",
  },
  {
    name: "fork-keeps-write",
    file: "src/mm/call/fork.ts",
    find: `    if ((pte & isWrite) !== 0) {
      words[at] = pte & ~isWrite;
      writable++;
    }
`,
    replace: "",
    why: "fork write-protects the child's entry and forgets the parent's",
  },
  {
    name: "fork-keeps-device-write",
    file: "src/mm/call/fork.ts",
    find: `    if ((pte & isWrite) !== 0) {
      words[at] = pte & ~isWrite;
      writable++;
    }
    copies[at] = pte & ~isWrite;
`,
    replace: `    copies[at] = pte & ~isWrite;
    if (kind === isPrivate) copies[at] = pte;
    else if ((pte & isWrite) !== 0) {
      words[at] = pte & ~isWrite;
      writable++;
    }
`,
    why: "fork leaves the entries of pages on a device writable in parent and child",
  },
  {
    name: "fork-tells-late",
    file: "src/mm/call/fork.ts",
    find: `  let result: Result = 0;
  yield* copy.parent.notifiers.change(event, () => {
    result = copyPlain(copy);
  });
`,
    replace: `  const result = copyPlain(copy);
  yield* copy.parent.notifiers.change(event, () => {});
`,
    why: "fork write-protects first and then takes the devices' right to write",
  },
  {
    name: "copy-over-newer",
    file: "src/mm/fault/anonymous.ts",
    find: "    if (space.pageTable.get(page) === pte) replaceByCopy(space, vma, page, frame);\n",
    replace: "    replaceByCopy(space, vma, page, frame);\n",
    why: "copy on write does not look again after it slept, and puts an old copy over a newer page",
  },
  {
    name: "copy-tells-late",
    file: "src/mm/fault/anonymous.ts",
    find: `    return yield* space.notifiers.change(clearEvent(page), () => {
      // Somebody else may have been faster while the callbacks ran.
      if (space.pageTable.get(page) === pte) replaceByCopy(space, vma, page, frame);
    });
`,
    replace: `    if (space.pageTable.get(page) === pte) replaceByCopy(space, vma, page, frame);
    return yield* space.notifiers.change(clearEvent(page), () => {});
`,
    why: "copy on write puts the new page in its place first and tells the devices afterwards",
  },
  {
    name: "moves-over-first-touch",
    file: "src/devmem/fresh.ts",
    find: "const isFree = (old === PTE_NONE || isZero) && vma.isAnonymous;",
    replace: "const isFree = vma.isAnonymous;",
    why: "a page that moves to nothing's place does not look whether a CPU was faster",
  },
  {
    name: "reclaims-held",
    file: "src/mm/migration-entries.ts",
    find: "    isHeld = (yield* freezeMappings(memory, frame)) && pages.isStill(frame, 1);\n",
    replace: `    const isStill = pages.isStill(frame, 1);
    isHeld = (yield* freezeMappings(memory, frame)) && isStill;
`,
    why: "who holds a page still counts references before it waits, not after: a held page goes",
  },
  {
    name: "kept-copy-writable",
    file: "src/devmem/migrate.ts",
    find: "    cursor.set(page, withFlags(entry, 0, PTE_WRITE));\n    memory.pages.setFlag(to, PG_DUPLICATED);\n",
    replace: "    memory.pages.setFlag(to, PG_DUPLICATED);\n",
    why: "a page comes home writable although its device goes on reading what it had",
  },
  {
    name: "kept-copy-unknown",
    file: "src/devmem/migrate.ts",
    find: "    memory.pages.setFlag(to, PG_DUPLICATED);\n",
    replace: "",
    why: "a page comes home and does not know that its device has kept a copy",
  },
  {
    name: "kept-copy-of-others",
    file: "src/device/move.ts",
    find: "if (!isOurs || !pages.is(home, PG_EXCLUSIVE)) continue;",
    replace: "if (!isOurs) continue;",
    why: "a device keeps a copy of a page that another space maps and may write",
  },
];
