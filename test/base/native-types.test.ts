// What lib/native/types.ts says of the addon is what the addon has.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

import { native } from '../../lib/native/addon.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const types = readFileSync(`${root}lib/native/types.ts`, 'utf8')
const wrappers = readdirSync(`${root}native/node`).filter((name) => name.endsWith('.cc'))
  .map((name) => readFileSync(`${root}native/node/${name}`, 'utf8')).join('\n')

/** Of an interface: its methods and its other members. */
function membersOf (name: string): string[] {
  const [, body = ''] = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, 'ms').exec(types) ?? []
  return [...body.matchAll(/^ {2}(\w+)(?: \(|: )/gm)].map(([, member]) => member!).sort()
}

function methodsOf (className: string): string[] {
  const [, body = ''] = new RegExp(`DefineClass\\(\\s*env, "${className}",(.*?)\\}\\)`, 's').exec(wrappers) ?? []
  return [...body.matchAll(/InstanceMethod<[^>]*>\("(\w+)"\)/g)].map(([, method]) => method!).sort()
}

const classes = [...wrappers.matchAll(/DefineClass\(\s*env, "(\w+)"/g)].map(([, name]) => name!)

for (const name of classes) {
  t.test(`${name} has the methods that its type names, and no others`, async (t) => {
    t.same(membersOf(`Native${name}`), methodsOf(name))
  })
}

t.test('none was overlooked', async (t) => {
  const declared = [...wrappers.matchAll(/\bInstanceMethod</g)].length
  t.equal(classes.flatMap(methodsOf).length, declared)
  t.ok(declared > 50)
})

t.test('the addon has the members that its type names, and no others', async (t) => {
  // bindings adds where it is.
  t.same(Object.keys(native).filter((name) => name !== 'path').sort(), membersOf('Native'))
})
