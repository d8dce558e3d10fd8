/**
 * What WGSL allows and a kernel does not: said with the rule of ours and its place, before a
 * compiler sees it and speaks of text that its author has not written.
 */
import type { MainParams } from "./main-params.ts";
import { blankComments, type Place, placeOf } from "./source-text.ts";

export interface CompileMessage extends Place {
  readonly message: string;
}

interface Rule {
  readonly found: RegExp;
  readonly why: string;
}

const ENTRY = "the entry point is ours: write fn main(i: u32), called for every i below the count";
const BINDINGS =
  "a kernel has no bindings of its own: values come as arguments (args.name), memory is read " +
  "and written by address (load_u32, store_u32 and so on)";
const ALONE =
  "invocations do not work together: each may run at another time, and more than once until " +
  "its pages are there; where the kernel has a workgroupSize, those of a group do";

const ATOMIC =
  "atomics are on memory that all share, by address: atomicAdd_u32(address, value), and so on";

const RULES: readonly Rule[] = [
  { found: /\bos_\w*/, why: "names that begin with os_ are ours" },
  { found: /\benable\s+[^;]*/, why: "kernels are written in WGSL without extensions" },
  {
    found: /\brequires\s+[^;]*|(?<!@\s*)\bdiagnostic\b/,
    why: "a directive stands first in a shader, and there the helpers are: leave it out",
  },
  { found: /@\s*(?:compute|vertex|fragment|workgroup_size)\b/, why: ENTRY },
  { found: /@\s*builtin\b/, why: "main is given its index and nothing else: fn main(i: u32)" },
  { found: /@\s*(?:group|binding)\b|\b(?:var|ptr)\s*<\s*(?:storage|uniform)\b/, why: BINDINGS },
  {
    found: /@\s*id\b|\boverride\b/,
    why: "nobody can set a constant of the pipeline: use const, or an argument",
  },
  {
    found: /\b(?:storage|texture|subgroup)Barrier\b/,
    why: "stores happen when main has returned: what a group shares is in var<workgroup>",
  },
  { found: /\bsubgroup[A-Z]\w*\s*(?=\()/, why: ALONE },
];

/** Of kernels whose invocations run alone. */
const RULES_ALONE: readonly Rule[] = [
  { found: /\b(?:var|ptr)\s*<\s*workgroup\b/, why: ALONE },
  { found: /\b(?:workgroupBarrier|workgroupUniformLoad)\b/, why: ALONE },
  {
    found:
      /\batomic(?!\w+_[ui]32)(?:[LS]|Add|M|And|Or|Xor|Exchange|CompareExchangeWeak)\w*\s*(?=\()/,
    why: ATOMIC,
  },
  { found: /\batomic\s*(?=<)/, why: ATOMIC },
];

/**
 * What of WGSL the text around a kernel uses. A declaration of that name is legal, and would be
 * taken for WGSL's own by what stands before it, too.
 */
const USED = new Set(
  `arrayLength atomicAdd atomicAnd atomicCompareExchangeWeak atomicExchange atomicLoad atomicMax
  atomicMin atomicOr atomicStore atomicSub atomicXor bitcast countLeadingZeros max min
  pack2x16float select unpack2x16float
  array atomic bool f32 i32 u32 workgroupBarrier workgroupUniformLoad
  mat3x4f mat4x4f vec2f vec2i vec2u vec3f vec3i vec3u vec4f vec4i
  vec4u vec2 vec3 vec4`.split(/\s+/),
);

/** Declarations of the whole module that are called like something in `USED`. */
function* hiding(bare: string): Iterable<{ readonly index: number; readonly message: string }> {
  const token = /[{}]|\b(?:fn|struct|alias|const|var(?:\s*<[^>]*>)?)\s+([A-Za-z_]\w*)/g;
  let depth = 0;
  for (const { 0: text, 1: name, index } of bare.matchAll(token)) {
    if (text === "{") depth++;
    else if (text === "}") depth--;
    else if (depth === 0 && USED.has(name!)) {
      const message = `${name}: the helpers use WGSL's own ${name}; call yours something else`;
      yield { index: index + text.length - name!.length, message };
    }
  }
}

interface RuleOptions {
  readonly isGroup?: boolean;
  /** With what main takes: said when nothing else is wrong. */
  readonly problems?: MainParams["problems"];
}

/** The first breach of each rule, in the order of the code; and where `main` is. */
export function checkRules(
  code: string,
  { isGroup = false, problems = [] }: RuleOptions = {},
): {
  readonly messages: readonly CompileMessage[];
  readonly main: Place;
} {
  const bare = blankComments(code);
  const breaches: { readonly index: number; readonly message: string }[] = [];
  for (const { found, why } of isGroup ? RULES : [...RULES, ...RULES_ALONE]) {
    const match = found.exec(bare);
    if (match === null) continue;
    const words = match[0].trim().replace(/\s+/g, " ");
    breaches.push({ index: match.index, message: `${words}: ${why}` });
  }
  breaches.push(...hiding(bare));
  const main = /\bfn\s+main\s*\(/.exec(bare);
  if (main === null) breaches.push({ index: 0, message: "there must be a function main(i: u32)" });
  else if (breaches.length === 0) breaches.push(...problems);
  breaches.sort((a, b) => a.index - b.index);
  return {
    messages: breaches.map(({ index, message }) => ({ ...placeOf(code, index), message })),
    main: placeOf(code, main?.index ?? 0),
  };
}
