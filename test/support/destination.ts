// A destination of one disk, `web`, in a file.
import { join } from 'node:path'

import type { Test } from 'tap'

import { receive } from '../../lib/index.js'
import { temporary } from '../../testbed/support/images.js'

export async function destination (t: Test) {
  const target = join(temporary(t), 'target.img')
  const receiver = await receive({ disks: [{ destination: target, name: 'web' }] })
  const close = async () => {
    await receiver.close()
    for (const tap of receiver.taps.values()) await tap.close()
  }
  t.teardown(close)
  return { target, address: `127.0.0.1:${receiver.address.port}`, close }
}
