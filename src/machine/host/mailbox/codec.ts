/**
 * Values and errors as bytes. Values cross as by structured clone (undefined, bigint, Map, Date,
 * ArrayBuffer survive), but of a typed array only its own elements, in a buffer of its own: also
 * of one on shared memory, which arrives as a copy. Errors cross as records.
 */
import { Deserializer, Serializer } from "node:v8";
import { AssertionError } from "../../../base/index.ts";
import { HmmError, type HmmErrorInit, invalid } from "../../error.ts";

/** Bytes of one request or answer: a slot counts them in an int32. */
const BYTES_MAX = 2 ** 31 - 1;
/** How many causes of causes cross. An error may be its own cause. */
const CAUSES_MAX = 8;

type ViewType = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView;

/** The position is what crosses. Buffer first: it is a Uint8Array too. */
const VIEW_TYPES: readonly ViewType[] = [
  Buffer as unknown as ViewType,
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigUint64Array,
  BigInt64Array,
  DataView,
];

/** What the native half of Node's serializers looks for and its types leave out. */
interface HostObjects {
  _setTreatArrayBufferViewsAsHostObjects(flag: boolean): void;
}
interface RawReader {
  readonly buffer: Buffer;
  _readRawBytes(length: number): number;
}

class ValueWriter extends Serializer {
  constructor() {
    super();
    (this as unknown as HostObjects)._setTreatArrayBufferViewsAsHostObjects(true);
  }

  _writeHostObject(object: object): void {
    const type = VIEW_TYPES.findIndex((each) => object instanceof each);
    if (type < 0) throw new TypeError(`a ${object.constructor?.name ?? "host object"}`);
    const { buffer, byteOffset, byteLength } = object as ArrayBufferView;
    this.writeUint32(type);
    this.writeUint32(byteLength);
    this.writeRawBytes(new Uint8Array(buffer, byteOffset, byteLength));
  }

  _getDataCloneError(message: string): Error {
    return new TypeError(message);
  }
}

class ValueReader extends Deserializer {
  _readHostObject(): ArrayBufferView {
    const raw = this as unknown as RawReader;
    const Type = VIEW_TYPES[this.readUint32()]!;
    const byteLength = this.readUint32();
    const start = raw.buffer.byteOffset + raw._readRawBytes(byteLength);
    const { buffer } = new Uint8Array(raw.buffer.buffer, start, byteLength).slice();
    const unit = (Type as unknown as { readonly BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT;
    if (Type === VIEW_TYPES[0]) return Buffer.from(buffer);
    return new Type(buffer, 0, byteLength / (unit ?? 1));
  }
}

/** Throws EINVAL, naming `call`, for what cannot cross: functions, symbols, shared memory. */
export function encode(call: string, value: unknown): Uint8Array {
  const writer = new ValueWriter();
  let bytes: Uint8Array;
  try {
    writer.writeHeader();
    writer.writeValue(value);
    bytes = writer.releaseBuffer();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalid(call, `what is sent must be data that can be copied: ${why}`, cause);
  }
  if (bytes.length <= BYTES_MAX) return bytes;
  throw invalid(call, `what is sent must be below 2 GiB, got ${bytes.length} bytes`);
}

/** The value has nothing in common with `bytes` afterwards. */
export function decode(bytes: Uint8Array): unknown {
  const reader = new ValueReader(bytes);
  reader.readHeader();
  return reader.readValue();
}

/** An error as plain data. */
type ErrorRecord =
  | { readonly is: "HmmError"; readonly init: HmmErrorInit; readonly cause?: ErrorRecord }
  | {
      readonly is: "Error";
      readonly name: string;
      readonly message: string;
      readonly stack: string | undefined;
      readonly cause?: ErrorRecord;
    }
  | { readonly is: "value"; readonly value: unknown };

/**
 * What was thrown, with its causes, as data for `encode` or `postMessage`. An `HmmError` comes
 * out of `unpackError` with all its fields, any other error with name, message and stack.
 */
export function packError(error: unknown): unknown {
  return pack(error, CAUSES_MAX);
}

function pack(error: unknown, causesLeft: number): ErrorRecord {
  if (!(error instanceof Error)) return { is: "value", value: plain(error) };
  const isLast = error.cause === undefined || causesLeft === 0;
  const cause = isLast ? {} : { cause: pack(error.cause, causesLeft - 1) };
  if (error instanceof HmmError) {
    const { code, call, detail, kernel, address, access, invocation } = error;
    const launch = { kernel, address, access, invocation };
    const known = Object.entries(launch).filter(([, value]) => value !== undefined);
    return { is: "HmmError", init: { code, call, detail, ...Object.fromEntries(known) }, ...cause };
  }
  const { name, message, stack } = error;
  return { is: "Error", name, message, stack, ...cause };
}

/** Something thrown that is no error: as it is if it is a word or number, else its text. */
function plain(value: unknown): unknown {
  const type = typeof value;
  if (value === null || (type !== "object" && type !== "function" && type !== "symbol")) {
    return value;
  }
  try {
    return String(value);
  } catch {
    return `a thrown ${type} without a text`;
  }
}

/** What `packError` packed, as something to throw. */
export function unpackError(packed: unknown): unknown {
  const record = packed as ErrorRecord;
  if (record.is === "value") return record.value;
  const cause = record.cause === undefined ? undefined : unpackError(record.cause);
  // Where an HmmError was made inside says nothing to who made the call: it gets its own stack.
  if (record.is === "HmmError") return new HmmError({ ...record.init, cause });
  const Type = ERROR_TYPES.find(({ name }) => name === record.name) ?? Error;
  const error = new Type(record.message);
  const hidden = { writable: true, configurable: true, enumerable: false };
  if (error.name !== record.name) {
    Object.defineProperty(error, "name", { ...hidden, value: record.name });
  }
  Object.defineProperty(error, "stack", { ...hidden, value: record.stack });
  if (cause !== undefined) Object.defineProperty(error, "cause", { ...hidden, value: cause });
  return error;
}

const ERROR_TYPES: readonly (new (message: string) => Error)[] = [
  ...[AssertionError, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError],
];
