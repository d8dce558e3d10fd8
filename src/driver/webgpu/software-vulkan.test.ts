import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isComplete, readTar, unpack } from "./software-vulkan.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onespace-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const FILES = {
  "vk_swiftshader_icd.json": "{}",
  "libvulkan.so.1": "loader",
  "libvk_swiftshader.so": "x".repeat(1000),
};

function tarOf(files: Readonly<Record<string, string>>): Buffer {
  const blocks: Buffer[] = [];
  for (const [name, content] of Object.entries(files)) {
    const header = Buffer.alloc(512);
    header.write(`./${name}`, 0);
    header.write(content.length.toString(8).padStart(11, "0"), 124);
    header.write("0", 156);
    blocks.push(header, Buffer.alloc(Math.ceil(content.length / 512) * 512, content, "latin1"));
    blocks.at(-1)!.fill(0, content.length);
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const packed = (files: Readonly<Record<string, string>> = FILES) =>
  brotliCompressSync(tarOf(files));

describe("readTar", () => {
  it("finds every file with its content", () => {
    const files = readTar(tarOf(FILES));
    const contents = [...files].map(([name, bytes]) => [name, bytes.toString()]);
    expect(Object.fromEntries(contents)).toEqual(FILES);
  });
});

describe("the unpacked library", () => {
  it("is complete once unpacked, with nothing left over", () => {
    const target = join(folder, "library");
    expect(isComplete(target)).toBe(false);
    unpack(packed(), target);
    expect(isComplete(target)).toBe(true);
    expect(readdirSync(target).sort()).toEqual([...Object.keys(FILES), "sizes.json"].sort());
    expect(readFileSync(join(target, "libvk_swiftshader.so"), "latin1")).toHaveLength(1000);
  });

  it("is not complete when a file is cut short or gone, and unpacking again mends that", () => {
    unpack(packed(), folder);
    truncateSync(join(folder, "libvk_swiftshader.so"), 10);
    expect(isComplete(folder)).toBe(false);
    unpack(packed(), folder);
    expect(isComplete(folder)).toBe(true);
    unlinkSync(join(folder, "libvulkan.so.1"));
    expect(isComplete(folder)).toBe(false);
    unpack(packed(), folder);
    expect(isComplete(folder)).toBe(true);
  });

  it("is refused in a folder that others can write to", () => {
    unpack(packed(), folder);
    chmodSync(folder, 0o777);
    expect(() => isComplete(folder)).toThrow(/written/);
  });

  it("names what an archive lacks", () => {
    const { "libvulkan.so.1": _loader, ...rest } = FILES;
    expect(() => unpack(packed(rest), folder)).toThrow(/libvulkan\.so\.1/);
    expect(isComplete(folder)).toBe(false);
  });
});
