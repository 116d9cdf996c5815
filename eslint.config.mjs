// npm run check: mistakes that types do not show, and one formatting.
import stylistic from '@stylistic/eslint-plugin'
import tseslint from 'typescript-eslint'

const mistakes = {
  eqeqeq: 'error',
  'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
  'no-constant-condition': ['error', { checkLoops: false }],
  'no-debugger': 'error',
  'no-fallthrough': 'error',
  'no-self-assign': 'error',
  'no-unreachable': 'error',
  'no-var': 'error',
  'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'], location: 'anywhere' }],
  'prefer-const': 'error'
}

const typedMistakes = {
  '@typescript-eslint/await-thenable': 'error',
  '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
  '@typescript-eslint/no-floating-promises': ['error', {
    // tap waits for its tests itself.
    allowForKnownSafePromises: [{ from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/core' }]
  }],
  '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
  '@typescript-eslint/no-unnecessary-type-assertion': 'error',
  '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true, allowRethrowing: true }],
  '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }]
}

const formatting = {
  ...stylistic.configs.customize({
    semi: false, quotes: 'single', indent: 2, commaDangle: 'never', braceStyle: '1tbs', arrowParens: true
  }).rules,
  '@stylistic/indent-binary-ops': 'off',
  '@stylistic/list-style': 'off',
  '@stylistic/max-len': ['error', {
    code: 120, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true
  }],
  '@stylistic/max-statements-per-line': 'off',
  '@stylistic/operator-linebreak': 'off',
  '@stylistic/quote-props': ['error', 'as-needed'],
  '@stylistic/quotes': ['error', 'single', { avoidEscape: true }],
  '@stylistic/space-before-function-paren': ['error', 'always']
}

const lengths = (most) => ({
  'max-lines-per-function': ['error', { max: most, skipBlankLines: true, skipComments: true }]
})

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', '.tap/'] },
  {
    files: ['**/*.ts', '**/*.mjs'],
    languageOptions: { parser: tseslint.parser },
    plugins: { '@stylistic': stylistic },
    rules: { ...mistakes, ...formatting, ...lengths(60) }
  },
  { files: ['test/**', 'bench/**', 'demo/**'], rules: lengths(90) },
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: typedMistakes
  }
)
