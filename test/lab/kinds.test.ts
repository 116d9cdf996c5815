// redirect() on a stock Debian kernel, with the kinds of tunnels that this host's may lack.
import t from 'tap'

import { tryRun } from '../../testbed/support/command.js'
import { missingNeed } from '../../testbed/support/needs.js'
import { missing } from '../../testbed/sites/setting.js'
import { inLab } from '../../testbed/lab/lab.js'

const kKinds = ['wireguard', 'tun', 'gre', 'ipip']

async function missingHere (): Promise<string | false> {
  if (await tryRun('which', 'wg') === undefined) return 'needs wg'
  return await missing() || (await missingNeed() ?? false)
}

t.test('a machine moves with its connections', { skip: await missingHere() }, async (t) => {
  const program = new URL('./programs/kinds.js', import.meta.url).pathname
  const { code, output } = await inLab(`TAP=1 TAP_TIMEOUT=780 '${process.execPath}' '${program}'`)
  for (const kind of kKinds) t.match(output, new RegExp(`^ok \\d+ - ${kind} `, 'm'), kind)
  t.equal(code, 0)
  t.comment(output)
})
