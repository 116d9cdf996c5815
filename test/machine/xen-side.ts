// One side of a move of a Xen domain, as a process of its own.
//
//   xen-side.js source JSON | destination JSON
import { migrate, receive, xen } from '../../lib/index.js'

const [role, text] = process.argv.slice(2) as [string, string]
const options = JSON.parse(text) as { disk: string, journal: string, port: number, linkTimeout?: string, memory?: 'live' | 'cold' }
const { disk, journal, port, linkTimeout = '10s', memory = 'auto' } = options
const machine = xen({ domain: 'web', memory })

if (role === 'source') {
  const migration = migrate({
    disks: [{ source: disk, name: 'web' }],
    destination: { host: '127.0.0.1', port },
    machine,
    journal,
    linkTimeout,
    budgets: { downtime: '10s' }
  })
  migration.on('switchover', ({ step }) => console.log(step))
  await migration.then(
    () => console.log(`moved ${machine.way}`), (error: any) => console.log(`failed ${error.code} ${error.owner} ${error.message}`))
} else {
  const receiver = await receive({ disks: [{ destination: disk, name: 'web' }], machine, journal })
  receiver.on('failed', ({ error }) => console.log(`failed ${error.code} ${error.message}`))
  console.log(`port ${receiver.address.port}`)
  await receiver.done
  for (const tap of receiver.taps.values()) await tap.close()
  await receiver.close()
  console.log('done')
}
