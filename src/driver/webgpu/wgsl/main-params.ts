/**
 * What a kernel's `main` is given: its number, or what WGSL's builtins of the same names say, each
 * written as WGSL writes it: `fn main(@builtin(local_invocation_index) local: u32)`. The attributes
 * are blanked out, since the entry point is another function.
 */
import { blankComments, closing } from "./source-text.ts";

/** Invocations in x, y and z that run together. */
export type GroupSize = readonly [x: number, y: number, z: number];

export interface MainParams {
  /** The code without the attributes, of the same length. */
  readonly code: string;
  /** What the entry point calls `main` with. */
  readonly values: readonly string[];
  /** What is wrong with them, and where. */
  readonly problems: readonly { readonly index: number; readonly message: string }[];
}

interface Builtin {
  readonly type: "u32" | "vec3u";
  /** In the entry point of single invocations, and in that of groups. */
  readonly alone?: string;
  readonly inGroup: (size: GroupSize) => string;
}

const vec = (size: GroupSize): string => `vec3u(${size.map((each) => `${each}u`).join(", ")})`;

const BUILTINS: Readonly<Record<string, Builtin>> = {
  global_invocation_id: {
    type: "vec3u",
    alone: "os_at(id)",
    inGroup: (size) => `os_at(id) * ${vec(size)} + place`,
  },
  local_invocation_id: { type: "vec3u", inGroup: () => "place" },
  local_invocation_index: { type: "u32", inGroup: () => "local" },
  workgroup_id: { type: "vec3u", inGroup: () => "os_at(id)" },
  num_workgroups: { type: "vec3u", inGroup: () => "os_params.size.xyz" },
};

const MAIN = /\bfn\s+main\s*\(/;
const RULE =
  "main takes one number: fn main(i: u32), or WGSL's builtins: @builtin(workgroup_id) id: vec3u";

/** `size`: of groups, if invocations run in such. */
export function mainParams(code: string, size: GroupSize | undefined): MainParams {
  const bare = blankComments(code);
  const main = MAIN.exec(bare);
  const none = { code, values: [], problems: [] };
  if (main === null) return none;
  const open = main.index + main[0].length - 1;
  const end = closing(bare, open, "(", ")");
  const values: string[] = [];
  const problems: { index: number; message: string }[] = [];
  let plain = code;
  let at = open + 1;
  for (const text of splitParams(bare.slice(at, end - 1))) {
    const found = paramOf(text, size);
    const isTwice = typeof found !== "string" && values.includes(found.value);
    if (found === RULE || isTwice) problems.push({ index: main.index, message: RULE });
    else if (typeof found === "string") {
      problems.push({ index: firstWord(bare, at), message: found });
    } else values.push(found.value);
    const behind = at + text.length;
    const attribute = ATTRIBUTE.exec(text);
    if (attribute !== null) plain = blanked(plain, at + attribute.index, attribute[0].length);
    at = behind + 1;
  }
  if (values.length === 0 && problems.length === 0) {
    problems.push({ index: main.index, message: RULE });
  }
  return { code: plain, values, problems };
}

/** At commas outside of brackets; what follows the last one may be nothing. */
function splitParams(text: string): string[] {
  const parts = text.split(/,(?![^(<]*[)>])/);
  if (parts.at(-1)!.trim() === "") parts.pop();
  return parts;
}

const ATTRIBUTE = /@\s*builtin\s*\([^)]*\)/;

/** With comments in it, too: line breaks stay. */
const blanked = (code: string, at: number, length: number): string =>
  code.slice(0, at) +
  blankComments(code.slice(at, at + length)).replace(/\S/g, " ") +
  code.slice(at + length);

const firstWord = (code: string, at: number): number =>
  at + code.slice(at).length - code.slice(at).trimStart().length;

const PARAM =
  /^\s*(?:@\s*builtin\s*\(\s*(\w+)\s*,?\s*\))?\s*[\p{XIDS}_][\p{XIDC}]*\s*:\s*([\w<>\s]+?)\s*$/u;

/** What it is given, or what is wrong with it. */
function paramOf(text: string, size: GroupSize | undefined): { readonly value: string } | string {
  const match = PARAM.exec(text);
  if (match === null) return RULE;
  const [, name, written = ""] = match;
  const type = written.replace(/\s+/g, "") === "vec3<u32>" ? "vec3u" : written;
  if (name === undefined) {
    if (type !== "u32") return RULE;
    return {
      value:
        size === undefined ? "id" : `os_linear(os_at(id) * ${vec(size)} + place, ${vec(size)})`,
    };
  }
  const builtin = Object.hasOwn(BUILTINS, name) ? BUILTINS[name] : undefined;
  if (builtin === undefined) {
    return `@builtin(${name}): main may be given ${Object.keys(BUILTINS).join(", ")}`;
  }
  if (type !== builtin.type) return `@builtin(${name}) is a ${builtin.type}`;
  if (size !== undefined) return { value: builtin.inGroup(size) };
  if (builtin.alone !== undefined) return { value: builtin.alone };
  return `@builtin(${name}): invocations run in groups where the kernel has a workgroupSize`;
}
