/**
 * # machine/host/mailbox: how any thread calls the kernel thread
 *
 * The kernel thread sleeps in a system call and reads no messages. So all is in one
 * SharedArrayBuffer, which crosses as plain worker data.
 *
 * **Nouns.** *Slot*: where one call lives; its caller claims it, and its state says whose turn it
 * is. *Part*: as much of a request or an answer as a slot holds. *Doorbell*: the number of an
 * eventfd that ends the kernel thread's sleep. *Door*: a claim that stands for no slot, for who
 * must ring without one. *Post*: a call whose answer nobody waits for.
 *
 * **Invariants.** Only the side whose turn it is writes to a slot, so a state is stored, never
 * exchanged:
 * ```
 *   caller's turn                          server's turn
 *   idle ── first part ─────────────────►  requestPart
 *   takenPart ◄── "go on" ───────────────      │
 *      └── next part ───────────────────►  requestPart … request (the last or only one)
 *                                              │ taken
 *                                          serving
 *   replyPart ◄── first part ────────────      │
 *      └── "go on" ─────────────────────►  wantReply
 *   reply (the last or only one) ◄───────      │
 *      └── read, then idle and free
 * ```
 * The caller may set the abort word at any time. The server may write progress while it serves.
 *
 * A thread may end anywhere. A slot's owner is a thread id that is never used twice, in one
 * 64-bit word that changes from 0 by compare-and-exchange: there is no moment at which a slot is
 * taken and nobody knows by whom. `MailboxServer.reap` frees the slots of threads that are gone.
 * A count or a flag that a dead thread leaves behind costs a superfluous wake, never a missing
 * one. And nobody waits for ever: who is blocked looks up once a second, at the words "closed"
 * and "dead" and whether the server's thread is still there.
 *
 * **Locks.** None: claims are single compare-and-exchanges, and nobody waits while he has one for
 * anything but the server.
 *
 * **Example.**
 * ```ts
 * const shared = newMailbox();                           // crosses to the kernel thread
 * const answer = new MailboxClient(shared).callNow({ name: "mmap", bytes: 8192 });
 *
 * const server = new MailboxServer(shared, { doorbell });             // there
 * for (let call = server.next(); call !== undefined; call = server.next()) {
 *   call.reply(serve(call.request));
 * }
 * if (server.beforeSleep()) poll([faults, doorbell]);
 * server.afterSleep();
 * ```
 *
 * **What it refuses.** What is no data: functions, shared memory (EINVAL). Calls that block on the
 * kernel thread itself. A second server.
 */
export { Call } from "./call.ts";
export { MailboxClient } from "./client.ts";
export { packError, unpackError } from "./codec.ts";
export { isMailbox, type MailboxOptions, newMailbox } from "./memory.ts";
export { MailboxServer } from "./server.ts";
export { isAlive, ownThread, type ThreadId } from "./thread.ts";
