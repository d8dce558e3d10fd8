import { expect, it } from "vitest";
import { RandomStrategy, Scheduler } from "../../sync/index.ts";
import { Lifetime } from "./lifetime.ts";

const life = (): { life: Lifetime; scheduler: Scheduler } => {
  const scheduler = new Scheduler({ strategy: new RandomStrategy(1) });
  return { life: new Lifetime(scheduler), scheduler };
};

it("takes calls while it is open, and refuses them by name afterwards", () => {
  const { life: it } = life();
  it.enter("mmap");
  it.leave();
  it.to("closing");
  expect(() => it.enter("mmap")).toThrow(/mmap.*being closed/);
  it.to("open");
  it.enter("mmap");
  expect([it.isOver, it.isDismantled]).toEqual([false, false]);
});

it("is idle when every call that was let in has ended", () => {
  const { life: it, scheduler } = life();
  it.enter("run");
  it.enter("mmap");
  const order: string[] = [];
  scheduler.spawn(
    "close",
    (function* close() {
      yield* it.idle();
      order.push("idle");
    })(),
  );
  scheduler.run();
  it.leave();
  scheduler.run();
  order.push("one ended");
  it.leave();
  scheduler.run();
  expect(order).toEqual(["one ended", "idle"]);
  expect(() => it.leave()).toThrow(/never began/);
});

it("goes from state to state only as drawn", () => {
  const { life: it } = life();
  expect(() => it.to("closed")).toThrow(/open becomes closed/);
  it.to("closing");
  expect(() => it.to("retreating")).toThrow(/closing becomes retreating/);
  it.to("dismantling");
  expect([it.isOver, it.isDismantled]).toEqual([false, true]);
  it.to("closed");
  expect([it.isOver, it.isDismantled]).toEqual([true, true]);
  expect(() => it.to("failed")).toThrow(/closed becomes failed/);
});

it("fails from anywhere but the end", () => {
  const { life: it } = life();
  it.to("retreating");
  it.to("retreated");
  it.to("failed");
  expect([it.isOver, it.isDismantled, it.state]).toEqual([true, false, "failed"]);
});
