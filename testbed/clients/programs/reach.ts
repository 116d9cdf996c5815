// Says whether another host answers: "true" when it refuses or takes a connection, "false" when
// nothing comes back in time.
//
//   reach ADDRESS SECONDS

import { connect } from 'node:net'

const [host, seconds] = process.argv.slice(2) as [string, string]
const socket = connect({ host, port: 9 })

function say (answer: boolean): void {
  process.stdout.write(`${answer}\n`, () => process.exit(0))
}

socket.on('connect', () => say(true))
socket.on('error', (error: NodeJS.ErrnoException) => say(error.code === 'ECONNREFUSED'))
setTimeout(() => say(false), Number(seconds) * 1000)
