// Codes: one list for TypeScript and C++, one table for the documentation; and no mistake of ours is INVALID.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

import { kErrors } from '../../lib/base/error-codes.js'
import { BlockferryError, codeSaid, toBlockferryError } from '../../lib/base/errors.js'
import { StateMachine } from '../../lib/base/state-machine.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const read = (path: string) => readFileSync(root + path, 'utf8')

t.test('the codes of the native core are codes of the library', async (t) => {
  const native = [...read('native/core/base/status.cc').matchAll(/case Code::(\w+): return "(\w+)";/g)]
  const declared = /enum class Code \{([^}]*)\}/.exec(read('native/core/base/status.h'))?.[1] ?? ''
  const names = [...declared.matchAll(/^ {2}(\w+),/gm)].map(([, name]) => name)
  t.same(native.map(([, name]) => name), names)
  const codes = native.map(([, , code]) => code).filter((code) => code !== 'OK')
  t.same(codes, Object.keys(kErrors).slice(0, codes.length))
})

t.test('the documentation has the table of today', async (t) => {
  const { errorsPage } = await import(`${root}scripts/errors-page.mjs`)
  t.equal(read('docs/errors.md'), errorsPage(kErrors), 'npm run docs')
})

t.test('each code has a sentence and an advice', async (t) => {
  for (const [code, { means, advice }] of Object.entries(kErrors)) {
    t.match(means, /^[A-Z].*\.$/, code)
    t.match(advice, /^[A-Z`].*\.$/, code)
  }
})

t.test('what was thrown gets the code that it is', async (t) => {
  const system = await import('node:fs/promises').then(({ open }) => open('/nowhere/at/all')).catch((error: unknown) => error)
  const cases: Array<[unknown, string, number]> = [
    [system, 'NOT_FOUND', 2],
    [Object.assign(new Error('disk'), { code: 'EIO', errno: -5 }), 'IO_ERROR', 5],
    [Object.assign(new Error('strange'), { code: 'ESTRANGE', errno: -9999 }), 'IO_ERROR', 9999],
    [Object.assign(new Error('native'), { code: 'BUSY', errno: 16 }), 'BUSY', 16],
    [Object.assign(new Error('quota'), { code: 'Unknown system error -122', errno: -122 }), 'NO_SPACE', 122],
    [Object.assign(new Error('no such'), { code: 'ENOTSUP', errno: -95 }), 'UNSUPPORTED', 95],
    [Object.assign(new Error('closed'), { code: 'EBADF' }), 'IO_ERROR', 0],
    [Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND', errno: -3008 }), 'UNREACHABLE', 3008],
    [new Error('std::bad_alloc'), 'NO_MEMORY', 0],
    [new TypeError('x is not a function'), 'INTERNAL', 0],
    [Object.assign(new TypeError('argument'), { code: 'ERR_INVALID_ARG_TYPE' }), 'INTERNAL', 0],
    [Object.assign(new Error('proto'), { code: 'toString', errno: 9998 }), 'IO_ERROR', 9998],
    ['a text', 'INTERNAL', 0],
    [undefined, 'INTERNAL', 0]
  ]
  for (const [thrown, code, errno] of cases) {
    t.match(toBlockferryError(thrown), { code, errno, owner: null }, String(thrown))
  }
  const known = new BlockferryError('BUSY', 'taken', { owner: 'source' })
  t.equal(toBlockferryError(known, { owner: 'destination' }), known)
})

t.test('what another process says may be of another version', async (t) => {
  t.equal(codeSaid('BUSY'), 'BUSY')
  for (const code of ['ENOENT', 'LATER', 'toString', undefined, 7]) t.equal(codeSaid(code), 'VERSION')
})

t.test('a step that no arrow allows is a mistake of ours', async (t) => {
  const light = new StateMachine('the light', { green: ['yellow'], yellow: ['red'], red: ['green'] }, 'green')
  light.to('yellow')
  t.throws(() => light.to('green'), { code: 'INTERNAL', message: 'the light: no way from yellow to green' })
  t.equal(light.state, 'yellow')
  t.ok(light.is('red', 'yellow'))
  t.notOk(light.is('red'))
})
