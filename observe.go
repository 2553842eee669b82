package main

import (
	"time"

	"github.com/rs/zerolog"

	"ollama-mcp/ollama"
	"ollama-mcp/ollama/fleet"
	"ollama-mcp/ollama/fleet/health"
)

// observer logs what a fleet does.
func observer(log zerolog.Logger) fleet.Observer {
	o := fleet.Observer{
		State: func(host string, old, now *health.Snapshot) {
			level := zerolog.InfoLevel
			if !now.State.Usable() && now.State != health.Draining {
				level = zerolog.WarnLevel
			}
			log.WithLevel(level).Str("host", host).Str("was", string(old.State)).Str("why", now.Why).Msg(string(now.State))
		},
		Loaded: func(host string, model ollama.Name, took time.Duration, err error) {
			log.Info().Str("host", host).Str("model", string(model)).Dur("ms", took).AnErr("cause", err).Msg("load")
		},
		Retried: func(host string, model ollama.Name, err error) {
			log.Warn().Str("host", host).Str("model", string(model)).AnErr("cause", err).Msg("trying again")
		},
		Recovered: func(host string, model ollama.Name) {
			log.Warn().Str("host", host).Str("model", string(model)).Msg("the model gave no answer and was reloaded")
		},
	}
	if log.GetLevel() > zerolog.DebugLevel {
		return o // to word why takes time on every call
	}
	o.Placed = func(host string, model ollama.Name, why string) {
		log.Debug().Str("host", host).Str("model", string(model)).Str("why", why).Msg("placed")
	}
	o.Queued = func(host string, model ollama.Name, wait time.Duration, err error) {
		log.Debug().Str("host", host).Str("model", string(model)).Dur("ms", wait).AnErr("cause", err).Msg("waited for a slot")
	}
	return o
}
