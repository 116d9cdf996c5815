// A process whose threads are used up: a migration fails, what is there can be closed, and when
// there are threads again the next one works.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { tryRun } from '../../testbed/support/command.js'
import { hashOf, makeImage, temporary } from '../../testbed/support/images.js'
import { kNeedsRoot } from '../support/root.js'

/** The limit counts for all of a user's threads, and not for root. */
const kUser = 64_924

const library = new URL('../../lib/index.js', import.meta.url).href

/** Migrates at every message, and tells how it went. */
const program = `
  import { access } from 'node:fs/promises'
  import { migrate, NbdServer, openTap, receive } from '${library}'
  const [image, target, socket] = process.argv.slice(1)
  await access(image)  // the threads that Node.js itself wants are there from now on
  const tap = await openTap({ source: image, name: 'web' })
  const receiver = await receive({ disks: [{ destination: target, name: 'web' }] })
  let server = null
  process.on('message', async () => {
    const answer = await migrate({ disks: [{ source: tap }], destination: receiver.address })
      .then(({ equal }) => ({ equal }), ({ code, owner }) => ({ code, owner }))
    await server?.close()
    server = new NbdServer()
    const listen = await server.listen({ path: socket }).then(() => 'ok', ({ code }) => code)
    process.send({ ...answer, listen })
  })
  process.send('ready')
`

t.test('no thread is to be had', {
  skip: kNeedsRoot || (await tryRun('which', 'prlimit') === undefined && 'needs prlimit')
}, async (t) => {
  const folder = temporary(t)
  const image = makeImage(join(folder, 'image'), 8 << 20)
  for (const path of [folder, image]) chownSync(path, kUser, kUser)
  chmodSync(folder, 0o700)
  const paths = [image, join(folder, 'target'), join(folder, 'nbd')]
  const user = { uid: kUser, gid: kUser }
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, ...paths], {
    ...user, stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  t.teardown(() => child.kill('SIGKILL'))
  t.same((await once(child, 'message'))[0], 'ready')
  const limit = (threads: number) => {
    execFileSync('prlimit', ['--pid', String(child.pid), `--nproc=${threads}:`], user)
  }
  const migrate = async () => {
    child.send('')
    return (await once(child, 'message'))[0]
  }
  limit(0)
  t.same(await migrate(), { code: 'NO_MEMORY', owner: 'source', listen: 'NO_MEMORY' })
  t.same(await migrate(), { code: 'NO_MEMORY', owner: 'source', listen: 'NO_MEMORY' })
  limit(500)
  t.same(await migrate(), { equal: true, listen: 'ok' })
  t.equal(await hashOf(join(folder, 'target')), await hashOf(image))
})
