// How long one side waits for the other, in the link's time limit.

/** How often the link's time limit the other side's storage may take for an answer, and at least, ms. */
const kAnswerTimeouts = 3
const kLeastAnswerMs = 15_000

/** How long an answer may take that needs the other side's storage, which may hang while its link lives, ms. */
export function answerLimitMs (linkTimeoutMs: number): number {
  return Math.max(kLeastAnswerMs, kAnswerTimeouts * linkTimeoutMs)
}

/** How often the link's time limit a source that lost the link at the commit asks what became of it: so long a
 * destination can be of use to it, too. */
const kAskTimeouts = 3

/** How long a source asks, ms. */
export function askLimitMs (linkTimeoutMs: number): number {
  return kAskTimeouts * linkTimeoutMs
}
