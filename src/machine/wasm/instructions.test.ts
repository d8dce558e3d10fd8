import { describe, expect, it } from "vitest";
import { Reader, Writer } from "./binary.ts";
import { walkBody } from "./instructions.ts";

const NONE = new Uint8Array([0]);

/** Offsets of the `memory.size` and `memory.grow` that are found in a body. */
function found(...code: readonly (number | readonly number[])[]): [string, number, number][] {
  const bytes = new Writer().raw(NONE).raw(new Uint8Array(code.flat())).done();
  const places: [string, number, number][] = [];
  walkBody(new Reader(bytes), {
    memorySize: (start, end) => places.push(["size", start, end]),
    memoryGrow: (start, end) => places.push(["grow", start, end]),
  });
  return places;
}

const END = 0x0b;
const SIZE = [0x3f, 0];
const SIXTEEN = new Array<number>(16).fill(0x3f);
// A number of several bytes that look like opcodes.
const LONG = [0x8b, 0xbf, 0x8b, 0x3f];

describe("a walk over a body", () => {
  it("finds both instructions, wherever they are", () => {
    expect(found(0x41, 1, 0x40, 0, 0x1a, ...SIZE, END)).toEqual([
      ["grow", 3, 5],
      ["size", 6, 8],
    ]);
    expect(found(0x02, 0x40, 0x03, 0x7f, ...SIZE, END, END, END)).toEqual([["size", 5, 7]]);
  });

  it.each([
    ["constants", [0x41, ...LONG], [0x42, ...LONG], [0x43, 0x3f, 0, 0x40, 0]],
    ["a double", [0x44, 0x3f, 0, 0x40, 0, 0x0b, 0x0b, 0x0b, 0x0b]],
    ["variables", [0x20, 0x3f], [0x21, 0x40], [0x22, 0x0b], [0x23, 0x3f], [0x24, 0x0b]],
    ["tables", [0x25, 0x3f], [0x26, 0x40]],
    ["loads and stores", [0x28, 0x3f, ...LONG], [0x3e, 2, 0x3f]],
    ["branches", [0x0c, 0x0b], [0x0d, 0x3f], [0x0e, 2, 0x0b, 0x3f, 0x40], [0x0f]],
    ["calls", [0x10, 0x3f], [0x11, 0x3f, 0x0b], [0x12, 0x0b], [0x13, 0x0b, 0x3f]],
    ["if and else", [0x04, 0x40], [0x05], [END]],
    ["a block with a type's index", [0x02, 0x3f], [END]],
    ["a block with a long index", [0x03, 0xbf, 0x00], [END]],
    ["blocks with types", [0x02, 0x7b], [0x03, 0x6f], [0x04, 0x70], [END, END, END]],
    ["select with types", [0x1b], [0x1c, 2, 0x7f, 0x7e]],
    ["references", [0xd0, 0x6f], [0xd1], [0xd2, 0x3f]],
    ["sign extension", [0xc0], [0xc4]],
    ["saturating conversions", [0xfc, 0], [0xfc, 0x87, 0x00]],
    ["bulk memory", [0xfc, 8, 0x3f, 0], [0xfc, 9, 0x0b], [0xfc, 10, 0, 0], [0xfc, 11, 0]],
    ["bulk tables", [0xfc, 12, 0x3f, 0x0b], [0xfc, 13, 0x3f], [0xfc, 14, 0x0b, 0x3f]],
    ["table sizes", [0xfc, 15, 0x3f], [0xfc, 16, 0x0b], [0xfc, 17, 0x40]],
    ["vector memory", [0xfd, 0, 4, 0x3f], [0xfd, 11, 0, 0x0b], [0xfd, 92, 2, 0x3f]],
    ["vector constants", [0xfd, 12, ...SIXTEEN.map(() => END)], [0xfd, 13, ...SIXTEEN]],
    ["lanes", [0xfd, 14], [0xfd, 21, 0x0b], [0xfd, 34, 0x0b], [0xfd, 84, 0, 0x0b, 0x0b]],
    ["vector arithmetic", [0xfd, 35], [0xfd, 0xff, 0x01], [0xfd, 0x80, 0x02], [0xfd, 0x93, 0x02]],
    ["atomics", [0xfe, 0, 2, 0x3f], [0xfe, 1, 2, 0x0b], [0xfe, 3, 0], [0xfe, 0x4e, 3, 0x0b]],
    ["old exceptions", [0x06, 0x40], [0x07, 0x3f], [0x08, 0x0b], [0x09, 0x3f], [0x19], [END]],
    ["delegate", [0x06, 0x40], [0x06, 0x40], [0x18, 0x0b], [END]],
    ["new exceptions", [0x1f, 0x40, 3, 0, 0x3f, 0x0b, 2, 0x3f, 1, 0x0b, 0x3f], [0x0a], [END]],
  ] as const)("goes over %s", (...row) => {
    const [, ...code] = row as readonly [string, ...(readonly number[])[]];
    const all = code.flat();
    const { length } = all;
    expect(found(...all, SIZE, END)).toEqual([["size", length + 1, length + 3]]);
  });

  it("goes over locals", () => {
    const bytes = new Uint8Array([3, 0x3f, 0x7f, ...LONG, 0x7b, 1, 0x6f, END]);
    expect(() => walkBody(new Reader(bytes), {} as never)).not.toThrow();
  });

  it.each([
    ["struct.new", [0xfb, 0, 0], /garbage collection or typed function references \(opcode 0xfb\)/],
    ["ref.eq", [0xd3], /opcode 0xd3/],
    ["call_ref", [0x14, 0], /opcode 0x14/],
    ["a nullable type", [0x02, 0x63, 0, END], /type 0x63/],
    ["an unknown opcode", [0x27], /not known here \(0x27\)/],
    ["an unknown bulk one", [0xfc, 18], /not known here \(0xfc 0x12\)/],
    ["an unknown vector one", [0xfd, 0x94, 0x02], /not known here \(0xfd 0x114\)/],
    ["an unknown atomic one", [0xfe, 4], /not known here \(0xfe 0x4\)/],
    ["another memory", [0x28, 0x42, 1, 0], /several memories/],
    ["another memory's size", [0x3f, 1], /several memories/],
    ["a catch of no kind", [0x1f, 0x40, 1, 4, 0], /catch of kind 4 at byte 4/],
    ["code behind its end", [END, 0x01], /a function body with bytes left over at byte 2/],
  ])("refuses %s", (_name, code, message) => {
    expect(() => found(code, END, END)).toThrow(message);
  });

  it.each([
    ["no code at all", []],
    ["no end", [0x01]],
    ["a block without an end", [0x02, 0x40, END]],
    ["half an instruction", [0x41]],
    ["half a block type", [0x02]],
  ])("refuses %s", (_name, code) => {
    expect(() => found(code)).toThrow(/ends too early/);
  });
});
