/**
 * The validity flag of the HMM range API (Linux 5.1, 5.2): a driver registers a range, reads the
 * page table, and under its lock asks whether the range is still valid before it programs the
 * device. What makes it valid again is the question.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "./exhibit.ts";
import type { Model } from "./model.ts";

interface FlagOptions {
  /** Who makes the flag true again: the last event's end (5.2), nobody, the owner before it reads. */
  readonly armedBy: "last event" | "owner";
  /** An event that never touches the range comes too. */
  readonly hasUnrelatedEvent?: boolean;
}

function buildFlag(model: Model, { armedBy, hasUnrelatedEvent = false }: FlagOptions): void {
  const page = model.object("page P");
  const pte = model.cell<"P" | "none">("pte[A]", "P");
  const device = model.cell<"P" | "none">("dev[A]", "none");
  const valid = model.cell("valid", false);
  const notifiers = model.counter("notifiers");
  const idle = model.queue("the range");
  const update = model.lock("update");

  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("registers [A]", () => {
      valid.value = notifiers.value === 0;
    });
    for (let attempt = 0; attempt < 3; attempt++) {
      yield* idle.until(() => {
        if (armedBy === "owner" && notifiers.value === 0) valid.value = true;
        return valid.value;
      });
      const seen = yield* model.step("reads pte[A]", () => pte.value);
      yield* update.take();
      const isValid = valid.value;
      if (isValid) device.value = seen;
      update.give();
      if (isValid) return;
    }
  });
  function* event(touches: boolean): Sleeps<void> {
    yield* model.step("starts an event", () => {
      notifiers.value++;
      if (touches) valid.value = false;
    });
    if (touches) {
      yield* update.take();
      device.value = "none";
      update.give();
      yield* model.step("clears pte[A] and frees P", () => {
        pte.value = "none";
        page.free();
      });
    }
    yield* model.step("ends the event", () => {
      notifiers.value--;
      if (notifiers.value > 0) return;
      if (armedBy === "last event") valid.value = true;
      idle.wakeAll();
    });
  }
  model.task("unmapper", () => event(true));
  if (hasUnrelatedEvent) model.task("other event", () => event(false));
  model.always("stale-access", () =>
    device.value === "P" && page.isFreed ? "the device maps P, which is freed" : undefined,
  );
}

export const VALID_FLAG: readonly Exhibit[] = [
  {
    id: "B-01",
    title: "valid becomes true again, and what was read before the event passes for current",
    story:
      "In Linux 5.1 to 5.4 the end of the last event sets valid on every range. Confirmed upstream " +
      "in November 2019; interval notifiers with a sequence replaced the flag.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildFlag(model, { armedBy: "last event" }),
    },
    fixed: [
      {
        name: "a latch that the range's owner arms before it reads",
        build: (model) => buildFlag(model, { armedBy: "owner" }),
      },
    ],
  },
];
