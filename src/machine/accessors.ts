/**
 * WGSL functions that read and write the fields of structs by address, for kernels:
 * `Node_key(p)`, `set_Node_key(p, v)`, `Node_items(p, index)`, `ptr_Node_key(p)` (its address, for
 * atomics), and `SIZE_OF_Node`. A member that
 * is a struct gives its address. Indices are not checked: a kernel that leaves an array reads
 * its neighbour, as with any pointer.
 */
import { invalid } from "./error.ts";
import { type Schema, type StructSchema, schemaName, targetOf, wordName } from "./schema.ts";

/** The accessors of every struct in `schemas` and of all that these reach, each once. */
export function accessorsOf(schemas: Iterable<Schema>): string {
  const structs = new Map<string, StructSchema>();
  for (const schema of schemas) collect(schema, structs);
  const owners = new Map<string, string>();
  const lines: string[] = [];
  for (const struct of structs.values()) {
    claim(`SIZE_OF_${struct.name}`, struct.name, owners);
    lines.push(`const SIZE_OF_${struct.name} = ${struct.size}u;`);
    for (const [field, member] of Object.entries(struct.fields)) {
      claim(
        `${struct.name}_${field}`,
        `${struct.name}.${field}`,
        owners,
        /^(?:load|store|set|atomic[A-Z]\w*)_/,
      );
      const access = accessOf(member);
      lines.push(getterText(struct, field, access));
      if (access.word === undefined) continue;
      claim(`set_${struct.name}_${field}`, `${struct.name}.${field}`, owners);
      lines.push(setterText(struct, field, access));
      claim(`ptr_${struct.name}_${field}`, `${struct.name}.${field}`, owners);
      lines.push(pointerText(struct, field, access));
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function collect(schema: Schema, structs: Map<string, StructSchema>): void {
  if (schema.kind === "ptr") collect(targetOf(schema), structs);
  if (schema.kind === "array") collect(schema.element, structs);
  if (schema.kind !== "struct") return;
  const known = structs.get(schema.name);
  if (known === schema) return;
  if (known !== undefined) {
    throw invalid("kernel", `two different structs are called ${schema.name}`);
  }
  structs.set(schema.name, schema);
  for (const member of Object.values(schema.fields)) collect(member, structs);
}

/** `a_b` of struct `A` and `b` of struct `A_a` would be one function; a getter is no setter. */
function claim(
  name: string,
  owner: string,
  owners: Map<string, string>,
  taken = /^(?:load|store)_/,
): void {
  const prefix = taken.exec(name)?.[0];
  if (prefix !== undefined) {
    const whose = prefix === "set_" ? "functions that store" : "the helpers";
    throw invalid("kernel", `${owner} would be ${name}: names with ${prefix} are for ${whose}`);
  }
  const other = owners.get(name);
  if (other !== undefined) {
    throw invalid("kernel", `${other} and ${owner} would both be ${name}`);
  }
  owners.set(name, owner);
}

interface Access {
  /** The type that helpers load and store; nothing for a struct, which is reached by address. */
  readonly word: string | undefined;
  /** Strides, outermost first: an array has one index, an array of arrays two. */
  readonly strides: readonly number[];
}

function accessOf(member: Schema): Access {
  const strides: number[] = [];
  let inner = member;
  while (inner.kind === "array") {
    strides.push(inner.stride);
    inner = inner.element;
  }
  if (inner.kind === "struct") return { word: undefined, strides };
  const word = inner.kind === "vector" ? schemaName(inner) : wordName(inner);
  return { word, strides };
}

function getterText(struct: StructSchema, field: string, access: Access): string {
  const address = addressText(struct, field, access);
  const body = access.word === undefined ? address : `load_${access.word}(${address})`;
  const parameters = ["p: u32", ...indexNames(access).map((index) => `${index}: u32`)];
  const result = access.word ?? "u32";
  return `fn ${struct.name}_${field}(${parameters.join(", ")}) -> ${result} { return ${body}; }`;
}

function pointerText(struct: StructSchema, field: string, access: Access): string {
  const parameters = ["p: u32", ...indexNames(access).map((index) => `${index}: u32`)].join(", ");
  const address = addressText(struct, field, access);
  return `fn ptr_${struct.name}_${field}(${parameters}) -> u32 { return ${address}; }`;
}

function setterText(struct: StructSchema, field: string, access: Access): string {
  const address = addressText(struct, field, access);
  const indices = indexNames(access).map((index) => `${index}: u32`);
  const parameters = ["p: u32", ...indices, `v: ${access.word}`].join(", ");
  return `fn set_${struct.name}_${field}(${parameters}) { store_${access.word}(${address}, v); }`;
}

function addressText(struct: StructSchema, field: string, access: Access): string {
  const names = indexNames(access);
  const indices = access.strides.map((stride, i) => ` + ${names[i]} * ${stride}u`);
  return `p + ${struct.offsets[field]}u${indices.join("")}`;
}

const indexNames = ({ strides }: Access): readonly string[] =>
  strides.length === 1 ? ["index"] : strides.map((_, i) => `index${i}`);
