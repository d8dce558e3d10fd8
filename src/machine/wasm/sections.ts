/**
 * The sections of a module: where they begin and end, and in which order they must stand.
 * Source: WebAssembly specification, "Modules" of the binary format.
 */
import { malformed, Reader, unsupported, Writer } from "./binary.ts";

export const SectionId = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;
export type SectionId = (typeof SectionId)[keyof typeof SectionId];

/** All but custom sections, in the order of a module. */
const ORDER: readonly number[] = [
  SectionId.type,
  SectionId.import,
  SectionId.function,
  SectionId.table,
  SectionId.memory,
  SectionId.tag,
  SectionId.global,
  SectionId.export,
  SectionId.start,
  SectionId.element,
  SectionId.dataCount,
  SectionId.code,
  SectionId.data,
];

const MAGIC = 0x6d736100;
const VERSION = 1;
/** Components, and other things than modules, have this in their second half. */
const LAYER = 0x1_0000;

export interface Section {
  readonly id: number;
  readonly body: Uint8Array;
}

/** Throws EINVAL for what is no module. */
export function readSections(bytes: Uint8Array): Section[] {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || header.getUint32(0, true) !== MAGIC) {
    throw malformed(0, "no \\0asm");
  }
  const version = header.getUint32(4, true);
  if (version >= LAYER) throw unsupported("the component model: only core modules have a memory");
  if (version !== VERSION) throw unsupported(`version ${version} of the binary format`);
  const reader = new Reader(bytes, 8);
  const sections: Section[] = [];
  let last = -1;
  while (!reader.isAtEnd) {
    const start = reader.at;
    const id = reader.byte();
    const part = reader.part(reader.u32());
    if (id !== SectionId.custom) {
      const rank = ORDER.indexOf(id);
      if (rank < 0) throw unsupported(`a section of kind ${id}`);
      if (rank <= last) throw malformed(start, `section ${id} twice or out of order`);
      last = rank;
    }
    sections.push({ id, body: part.rest() });
  }
  return sections;
}

/** Puts `section` where its kind belongs; one of the same kind gives way. */
export function placeSection(sections: Section[], section: Section): void {
  const rank = ORDER.indexOf(section.id);
  const at = sections.findIndex(({ id }) => id !== SectionId.custom && ORDER.indexOf(id) >= rank);
  if (at < 0) sections.push(section);
  else sections.splice(at, sections[at]!.id === section.id ? 1 : 0, section);
}

export function removeSections(sections: Section[], isGone: (section: Section) => boolean): void {
  for (let i = sections.length - 1; i >= 0; i--) if (isGone(sections[i]!)) sections.splice(i, 1);
}

export const bodyOf = (sections: readonly Section[], wanted: SectionId): Reader | undefined => {
  const body = sections.find(({ id }) => id === wanted)?.body;
  return body === undefined ? undefined : new Reader(body);
};

export function writeSections(sections: readonly Section[]): Uint8Array {
  const size = sections.reduce((sum, { body }) => sum + body.length + 6, 8);
  const writer = new Writer(size).byte(0, 0x61, 0x73, 0x6d, VERSION, 0, 0, 0);
  for (const { id, body } of sections) writer.byte(id).u32(body.length).raw(body);
  return writer.done();
}
