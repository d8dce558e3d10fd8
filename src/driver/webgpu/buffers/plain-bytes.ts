/**
 * The last check before bytes go to Dawn. It takes the address of a view and copies: when the
 * memory is shared (the user window is) the process ends in a segmentation fault, so a view on
 * it must never get that far. The bytes of shared pages are copied to a plain array first.
 */
import { assert } from "../../../base/index.ts";

/** `view`, when it lies in a plain ArrayBuffer. Throws `AssertionError` for shared memory. */
export function plainBytes(view: ArrayBufferView): ArrayBufferView<ArrayBuffer> {
  assert(view.buffer instanceof ArrayBuffer, "a view on shared memory would crash the GPU library");
  return view as ArrayBufferView<ArrayBuffer>;
}
