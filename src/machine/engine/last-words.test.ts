import { describe, expect, it } from "vitest";
import { AssertionError } from "../../base/index.ts";
import { AddressSpace, mmap, VM_READ } from "../../mm/index.ts";
import { buildWorld } from "../world.ts";
import { lastWords, withEvents } from "./last-words.ts";

function build() {
  const { memory, scheduler, tracer } = buildWorld({ frames: 8 });
  const space = new AddressSpace(memory);
  scheduler.runTask("map", mmap(space, { bytes: 4096, flags: VM_READ }));
  return { space, tracer };
}

describe("an engine that fails", () => {
  it("puts the last events behind the stack of an assertion, once", () => {
    const { tracer } = build();
    const error = new AssertionError("planted");
    expect(withEvents(error, tracer)).toBe(error);
    withEvents(error, tracer);
    expect(error.message).toBe("planted");
    expect(error.stack).toMatch(/^AssertionError: planted\n {4}at /);
    expect(error.stack!.match(/the last \d+ events.*\n.* mm:mmap {2}space 1, vpn /g)).toHaveLength(
      1,
    );
  });

  it("leaves a refusal as it is: that is no failure", () => {
    const error = new Error("ENOMEM");
    const { stack } = error;
    withEvents(error, build().tracer);
    expect(error.stack).toBe(stack);
  });

  it("tells the error, the last events and where memory is when it goes on no more", () => {
    const { space, tracer } = build();
    const said = lastWords(new Error("planted"), tracer, space);
    expect(said).toMatch(
      /^Error: planted\n {4}at [\s\S]*\n {2}0 {2}task 1 {2}mm:mmap[\s\S]*\nall /,
    );
    const assertion = withEvents(new AssertionError("planted"), tracer);
    expect(lastWords(assertion, tracer, space).match(/the last/g)).toHaveLength(1);
  });

  it("says so when it is too broken to tell where memory is", () => {
    const { tracer } = build();
    expect(lastWords("planted", tracer, {} as AddressSpace)).toMatch(
      /^planted\n[\s\S]*\nwhere memory is cannot be told: TypeError/,
    );
  });
});
