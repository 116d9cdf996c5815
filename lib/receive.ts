import { loadTls } from './base/tls.js'
import type { ReceiveOptions } from './destination/options.js'
import { checkReceiveOptions } from './destination/options.js'
import { Receiver } from './destination/receiver.js'

/**
 * Listens for migrations of the disks it is told of. What a disk's destination holds is overwritten.
 *
 * Errors: INVALID, ADDRESS_IN_USE, NO_PERMISSION, and those of the journal and of the files that
 * `tls` names. What is wrong with a destination shows when a source offers the disk: the source gets the
 * error, the receiver a `failed` event, and it goes on.
 */
export async function receive (options: ReceiveOptions): Promise<Receiver> {
  const checked = checkReceiveOptions(options)
  const receiver = new Receiver(checked, await loadTls(checked.tls, { connects: false }))
  await receiver.open()
  return receiver
}
