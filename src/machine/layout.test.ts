import { describe, expect, it } from "vitest";
import { arrayLayout, SCALAR_LAYOUT, strideOf, structLayout, vectorLayout } from "./layout.ts";

const f32 = SCALAR_LAYOUT;
const vec2 = vectorLayout(2);
const vec3 = vectorLayout(3);

describe("the layout of a struct", () => {
  it("is that of the example in the WGSL specification", () => {
    const a = structLayout([f32, f32, vec2, f32]);
    expect(a).toEqual({ offsets: [0, 4, 8, 16], align: 8, size: 24 });
    const b = structLayout([vec2, vec3, f32, f32, a, vec3, arrayLayout(a, 3), f32]);
    expect(b).toEqual({ offsets: [0, 16, 28, 32, 40, 64, 80, 152], align: 16, size: 160 });
  });

  it("lets a scalar follow a vec3 without a gap", () => {
    expect(structLayout([vec3, f32])).toEqual({ offsets: [0, 12], align: 16, size: 16 });
    expect(structLayout([f32, vec3])).toEqual({ offsets: [0, 16], align: 16, size: 32 });
  });
});

describe("the layout of an array", () => {
  it("pads a vec3 to 16 bytes and nothing else", () => {
    expect(strideOf(vec3)).toBe(16);
    expect(arrayLayout(vec3, 3)).toEqual({ size: 48, align: 16 });
    expect(arrayLayout(vec2, 3)).toEqual({ size: 24, align: 8 });
    expect(arrayLayout(f32, 3)).toEqual({ size: 12, align: 4 });
  });
});
