import { describe, expect, it } from "vitest";
import { eventId, Tracer, textOfEvents } from "./index.ts";

describe("the last events as text", () => {
  it("have a line each, with the names of their fields, the newest at the end", () => {
    const tracer = new Tracer({ events: 4 });
    expect(textOfEvents(tracer, 30)).toBe("no events");
    for (let pages = 1; pages <= 5; pages++) tracer.emit(eventId("mm:mmap"), 1, 0xabcde, pages);
    tracer.task = 7;
    tracer.emit(eventId("devmem:skip"), 1, 0x10, -16);
    tracer.emit(eventId("mm:exit"), 1, 0, 0);
    expect(textOfEvents(tracer, 3)).toBe(
      [
        "the last 3 events, the newest at the end:",
        "  4  task 0  mm:mmap  space 1, vpn 0xabcde, pages 5",
        "  5  task 7  devmem:skip  space 1, vpn 0x10, reason -16",
        "  6  task 7  mm:exit  space 1",
      ].join("\n"),
    );
  });
});
