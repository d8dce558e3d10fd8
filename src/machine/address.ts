/**
 * Addresses as they are given. WebAssembly's pointers are i32 in JavaScript: from 2 GiB up they
 * are negative. Every call of the public face that takes an address takes both forms, and gives
 * the unsigned one.
 */

const I32_MIN = -(2 ** 31);

/** The address that `given` means. What is none stays as it is, for who checks and says so. */
export const asAddress = (given: number): number =>
  given < 0 && given >= I32_MIN && Number.isInteger(given) ? given >>> 0 : given;
