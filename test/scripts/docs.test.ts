// Each path that the documentation names is there.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const kFolders = 'bench|demo|docs|examples|lib|native|scripts|test|testbed'

function pagesIn (folder: string): string[] {
  return readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md')).map((path) => `${folder}/${path}`)
}

/** In code, or what a link leads to: whole, with {one,another} for several, or with a * in its last part. */
function pathsIn (text: string): string[] {
  const named = new RegExp(`(?:\`|\\]\\()((?:${kFolders})/[\\w./{},*-]*)[\`)#:]`, 'g')
  return [...text.matchAll(named)].flatMap(([, path = '']) => {
    const choice = /^(.*)\{(.*)\}(.*)$/.exec(path)
    return choice === null ? [path] : choice[2]!.split(',').map((one) => choice[1] + one + choice[3])
  })
}

function isThere (path: string): boolean {
  const [, folder, pattern] = /^(.*)\/([^/]*\*[^/]*)$/.exec(path) ?? []
  if (folder === undefined || pattern === undefined) return existsSync(root + path)
  const [start = '', end = ''] = pattern.split('*')
  const names = existsSync(root + folder) ? readdirSync(root + folder) : []
  return names.some((name) => name.startsWith(start) && name.endsWith(end))
}

const pages = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', ...pagesIn('docs'), ...pagesIn('bench')]

for (const page of pages) {
  t.test(`${page} names no path that is not there`, async (t) => {
    t.same(pathsIn(readFileSync(root + page, 'utf8')).filter((path) => !isThere(path)), [])
  })
}

t.test('a path that is not there is found', async (t) => {
  const text = 'In `lib/no-such.ts`, [here](docs/none.md) and `lib/{index,nothing}.ts`; not `lib/index.ts`, `test/*`.'
  t.same(pathsIn(text).filter((path) => !isThere(path)), ['lib/no-such.ts', 'docs/none.md', 'lib/nothing.ts'])
})
