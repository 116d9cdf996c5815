// What a contender of the copy benchmark is, and the measuring that all of them share.

import type { Figures } from './figures.js'
import { loopbackBytes } from './network.js'
import type { MeasuredProcess, Usage } from './process.js'

/** One copy to do: from a file to a file of the same size that holds nothing yet. */
export interface CopyJob {
  readonly source: string
  readonly destination: string
  /** A folder for sockets and the like. */
  readonly folder: string
  /** Where both sides run; undefined: the machine's own network. */
  readonly namespace: string | undefined
}

export interface Copier {
  readonly name: string
  /** It ends only when both sides were compared; the others have to be compared afterwards. */
  readonly checks?: true
  copy(job: CopyJob): Promise<Figures>
}

/** The figures of a copy: the time is the sender's, from its start to its end. */
export function copyFigures (sender: Usage, receiver: Usage, wireBytes: number | null): Figures {
  return {
    seconds: sender.seconds,
    cpuSeconds: sender.cpuSeconds + receiver.cpuSeconds,
    wireBytes,
    senderPeakMiB: sender.peakMiB,
    receiverPeakMiB: receiver.peakMiB
  }
}

/**
 * Lets `send` copy to a receiver that is listening already, and stops the receiver afterwards
 * (one that ends by itself is waited for).
 */
export async function measureCopy (
  job: CopyJob,
  receiver: MeasuredProcess,
  send: () => Promise<Usage>,
  endsByItself = false
): Promise<Figures> {
  try {
    const before = await loopbackBytes(job.namespace)
    const sender = await send()
    const after = await loopbackBytes(job.namespace)
    const wireBytes = before === null || after === null ? null : after - before
    const receiverUsage = endsByItself ? await receiver.succeed() : await receiver.stop()
    return copyFigures(sender, receiverUsage, wireBytes)
  } finally {
    await receiver.stop()
  }
}
