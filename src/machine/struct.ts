/**
 * `struct("Node", { key: u32, left: ptr(() => Node) })`: named fields laid out as WGSL lays
 * them out. The schema makes cursors by itself: `Node.at(memory, address)`.
 */
import { CURSOR_NAMES, type CursorClass, cursorClass } from "./cursor.ts";
import { invalid } from "./error.ts";
import { structLayout } from "./layout.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { type FieldSchemas, isSchema, type Ptr, type StructSchema } from "./schema.ts";
import type { Cursor } from "./view.ts";

export interface Struct<Name extends string, Fields extends FieldSchemas>
  extends StructSchema<Name, Fields> {
  /** A cursor over the struct at `address`. */
  at(memory: MemoryAccess, address: Ptr<Struct<Name, Fields>>): Cursor<Struct<Name, Fields>>;
}

export function struct<const Name extends string, const Fields extends FieldSchemas>(
  name: Name,
  fields: Fields,
): Struct<Name, Fields> {
  checkName("name", name);
  const entries = Object.entries(fields);
  if (entries.length === 0) throw invalid("struct", `${name} must have a field`);
  for (const [field, member] of entries) {
    checkName(`field of ${name}`, field);
    if (CURSOR_NAMES.includes(field)) {
      throw invalid("struct", `field of ${name} must not be called ${field}: cursors use that`);
    }
    if (!isSchema(member)) {
      throw invalid("struct", `${name}.${field} must be a schema, got ${String(member)}`);
    }
  }
  const layout = structLayout(entries.map(([, member]) => member));
  const offsets = Object.fromEntries(entries.map(([field], i) => [field, layout.offsets[i]!]));
  let cursors: CursorClass | undefined;
  const schema = {
    kind: "struct",
    name,
    fields,
    offsets: offsets as Struct<Name, Fields>["offsets"],
    size: layout.size,
    align: layout.align,
    at(memory: MemoryAccess, address: number) {
      cursors ??= cursorClass(schema);
      return new cursors(memory, address) as Cursor<Struct<Name, Fields>>;
    },
  } as const;
  return schema;
}

/** Names become parts of WGSL and JavaScript text: `Node_key`, `get key()`. */
export function checkName(what: string, name: string): void {
  if (/^[A-Za-z][A-Za-z0-9_]*$/.test(name) && !name.startsWith("os_")) return;
  const rule = "a letter, then letters, digits or _, and not start with os_";
  throw invalid("struct", `${what} must be ${rule}, got ${JSON.stringify(name)}`);
}
