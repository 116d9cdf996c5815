// A name server that does not answer: the move fails in its own time, not in the resolver's.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

import t from 'tap'

import { temporary } from '../../testbed/support/images.js'
import { kNeedsRoot } from '../support/root.js'

const program = new URL('./programs/unresolved.js', import.meta.url).pathname

t.test('a name server that does not answer', { skip: kNeedsRoot }, async (t) => {
  const dir = temporary(t)
  // Ten minutes, were it for the resolver.
  writeFileSync(join(dir, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:30 attempts:5\n')
  writeFileSync(join(dir, 'nsswitch.conf'), 'hosts: dns\n')
  const script = `ip link set lo up
    for name in resolv.conf nsswitch.conf; do mount --bind "$1/$name" "/etc/$name"; done
    exec "$2" "$3"`
  const { stdout } = await promisify(execFile)(
    'unshare', ['--net', '--mount', 'sh', '-ec', script, 'sh', dir, process.execPath, program])
  const { code, message, owner, asked } = JSON.parse(stdout)
  t.match({ code, owner }, { code: 'TIMEOUT', owner: 'source' })
  t.match(message, /find the address of far\.example/)
  t.ok(asked > 0, 'the name server was asked')
})
