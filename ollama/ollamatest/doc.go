// Package ollamatest is what the tests and the demo run against instead of the user's own Ollama: a fake with
// scriptable speed and every fault worth handling ([NewFake], [NewPipeFake], [AllFaults]), and a real Ollama of its own
// with a model of half a megabyte ([Start], [NewReal], [WriteModel]), and a registry that it can pull from ([Registry]).
//
// The fake answers as Ollama 0.34 does, checked against the real one by the table of tests in
// ollama/contract_test.go and its neighbours. Nothing outside tests and the demo may import this package.
package ollamatest
