import { describe, expect, it } from "vitest";
import { blankComments } from "./source-text.ts";
import { KernelCompileError, wrapKernel } from "./wrap-kernel.ts";

const source = (code: string) => ({ name: "k", code, argsStruct: "", accessors: "" });
const messagesOf = (code: string) => {
  try {
    wrapKernel(source(code), 0);
  } catch (error) {
    if (error instanceof KernelCompileError) return error.messages;
    throw error;
  }
  return [];
};

describe("wrapKernel", () => {
  it("refuses names that are ours, at their place", () => {
    const [message] = messagesOf("fn main(i: u32) {\n  let a = 1; let os_x = 2;\n}");
    expect(message).toMatchObject({ line: 2, column: 18 });
    expect(message!.message).toContain("os_x");
  });

  it("does not mind such names in comments", () => {
    expect(messagesOf("// os_x\nfn main(i: u32) {} /* os_y */")).toEqual([]);
  });

  it("asks for a main, and a comment is none", () => {
    expect(messagesOf("fn other() {} // fn main(i: u32)")[0]!.message).toContain("main(i: u32)");
  });

  it("gives places in the user's lines and columns, injected text left out", () => {
    const code = "fn main(i: u32) {\n  for (;;) { wrong; }\n}";
    const shader = wrapKernel(source(code), 1);
    const lines = shader.wgsl.split("\n");
    const line = lines.findIndex((each) => each.includes("wrong")) + 1;
    const column = lines[line - 1]!.indexOf("wrong") + 1;
    expect(shader.userPlace(line, column)).toEqual({ line: 2, column: 14 });
    expect(shader.userPlace(line - 1, 4)).toEqual({ line: 1, column: 4 });
  });

  it("refuses to hide anything that the text around a kernel uses", () => {
    const own = new Set(
      `fn let var const if else for loop while continue return struct break true false private storage
      uniform read read_write group binding compute builtin workgroup_size workgroup_id
      num_workgroups local_invocation_index main args diagnostic off chromium`.split(/\s+/),
    );
    const used = new Set<string>();
    for (const size of [0, 2, 20, 200]) {
      for (const isDirect of [false, true]) {
        const code = "fn main(i: u32) { store_u32(i, 1u); _ = load_u32(i); }";
        const { wgsl } = wrapKernel(
          { ...source(code), argsStruct: "struct Args {}" },
          size,
          isDirect,
        );
        const head = blankComments(wgsl.slice(0, wgsl.lastIndexOf("fn main")));
        const declared = /\b(?:fn|let|var(?:<private>)?|const|struct)\s+(\w+)|\b(\w+)\s*:/g;
        for (const [, a, b] of head.matchAll(declared)) own.add((a ?? b)!);
        for (const [name] of head.matchAll(/(?<![.\w])[A-Za-z_]\w*/g)) used.add(name);
      }
    }
    const hidden = [...used].filter((name) => !own.has(name));
    expect(hidden).toContain("select");
    const accepted = hidden.filter(
      (name) => messagesOf(`fn ${name}() {}\nfn main(i: u32) {}`).length === 0,
    );
    expect(accepted).toEqual([]);
  });

  it("gives what is wrong in a text of ours where that stands", () => {
    const code = "fn main(i: u32) {\n  while (i < args.n) { }\n}";
    const shader = wrapKernel({ ...source(code), argsStruct: "struct Args { n: u32 }" }, 0);
    const lines = shader.wgsl.split("\n");
    const line = lines.findIndex((each) => each.startsWith("fn main(i: u32) { let args"));
    expect(shader.userPlace(line + 1, 30)).toEqual({ line: 1, column: 17 });
    expect(shader.userPlace(line + 2, 14)).toEqual({ line: 2, column: 14 });
    expect(shader.userPlace(line + 2, 30)).toEqual({ line: 2, column: 22 });
  });

  it("blames main for what the text before the user's code cannot do with it", () => {
    const shader = wrapKernel(source("\n  @must_use fn main(i: u32) -> u32 { return i; }"), 0);
    expect(shader.userPlace(3, 3)).toEqual({ line: 2, column: 13 });
  });
});
