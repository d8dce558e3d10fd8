/**
 * The list of exceptions: what is over a limit for a reason. It may only shrink: a finding
 * without an exception is wrong, and so is an exception without a finding.
 */
import type { Finding } from "./text-checks.ts";

/** Rules that allow exceptions at all; every other finding is simply wrong. */
const EXCUSABLE = ["file-length", "function-length", "parameters"];

export interface Exception {
  readonly rule: string;
  /** A path, or `path#function`. */
  readonly subject: string;
  readonly reason: string;
}

/** What is wrong, a sentence each, once `exceptions` have excused what they name. */
export function judge(findings: readonly Finding[], exceptions: readonly Exception[]): string[] {
  const complaints: string[] = [];
  for (const { rule, subject, detail } of findings) {
    const excused = EXCUSABLE.includes(rule) && exceptions.some(excuses({ rule, subject }));
    if (!excused) complaints.push(`${rule}: ${subject}: ${detail}`);
  }
  for (const exception of exceptions) {
    const { rule, subject, reason } = exception;
    const label = `exception ${rule}: ${subject}`;
    if (!EXCUSABLE.includes(rule)) complaints.push(`${label}: this rule has no exceptions`);
    if (reason.trim().length < 10) complaints.push(`${label}: gives no reason`);
    if (!findings.some(excuses(exception))) complaints.push(`${label}: no longer needed`);
  }
  return complaints;
}

function excuses(a: Omit<Exception, "reason">): (b: Omit<Exception, "reason">) => boolean {
  return (b) => a.rule === b.rule && a.subject === b.subject;
}
