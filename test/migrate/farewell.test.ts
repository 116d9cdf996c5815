// The source's last word: a receive ends when it has heard it, and does not wait for a question
// that cannot come.
import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'

t.test('a receive whose source said goodbye ends at once, every time', async (t) => {
  for (let i = 0; i < 30; i++) {
    await using source = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
    await using target = await openTap({ source: { memory: '1MiB' }, name: 'disk' })
    // Were the word lost, it would wait for as long as that: the test would not end.
    const receiver = await receive({ disks: [{ target }], linkTimeout: '10min' })
    const report = await migrate({ disks: [{ source }], destination: receiver.address })
    t.equal(report.equal, true)
    await receiver.done
    await receiver.close()
  }
})
