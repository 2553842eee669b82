package ollama

import (
	"encoding/json"
	"time"
)

// Options are the options of a generation, as Ollama spells them. A nil field is
// left to the model's and Ollama's own default. NumCtx, NumBatch, NumGPU, MainGPU,
// UseMMap and NumThread are load-time options: a value that differs from the one in
// force makes Ollama reload the model.
type Options struct {
	NumPredict       *int     `json:"num_predict,omitempty" jsonschema:"minimum=-2" jsonschema_description:"Most tokens to generate; default -1 and 0: no limit"`
	NumCtx           *int     `json:"num_ctx,omitempty" jsonschema:"minimum=1" jsonschema_description:"Context in tokens; a new value reloads the model"`
	NumKeep          *int     `json:"num_keep,omitempty" jsonschema_description:"Tokens kept when the context is full; default 4"`
	Seed             *int     `json:"seed,omitempty" jsonschema_description:"Same seed, same answer; default -1: random"`
	Temperature      *float64 `json:"temperature,omitempty" jsonschema:"minimum=0" jsonschema_description:"Default 0.8; 0 is the least random"`
	TopK             *int     `json:"top_k,omitempty" jsonschema:"minimum=0" jsonschema_description:"Default 40"`
	TopP             *float64 `json:"top_p,omitempty" jsonschema:"minimum=0,maximum=1" jsonschema_description:"Default 0.9"`
	MinP             *float64 `json:"min_p,omitempty" jsonschema:"minimum=0,maximum=1" jsonschema_description:"Default 0"`
	RepeatLastN      *int     `json:"repeat_last_n,omitempty" jsonschema:"minimum=-1" jsonschema_description:"Default 64; -1: the context"`
	RepeatPenalty    *float64 `json:"repeat_penalty,omitempty" jsonschema:"minimum=0" jsonschema_description:"Default 1"`
	PresencePenalty  *float64 `json:"presence_penalty,omitempty" jsonschema_description:"Default 0"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty" jsonschema_description:"Default 0"`
	Stop             []string `json:"stop,omitempty" jsonschema_description:"Texts that end the answer; default none"`
	NumBatch         *int     `json:"num_batch,omitempty" jsonschema:"-"`
	NumGPU           *int     `json:"num_gpu,omitempty" jsonschema:"-"`
	MainGPU          *int     `json:"main_gpu,omitempty" jsonschema:"-"`
	UseMMap          *bool    `json:"use_mmap,omitempty" jsonschema:"-"`
	NumThread        *int     `json:"num_thread,omitempty" jsonschema:"-"`
}

// LoadTime returns the load-time options of o alone, or nil when it has none.
func (o *Options) LoadTime() *Options {
	if o == nil {
		return nil
	}
	l := Options{
		NumCtx: o.NumCtx, NumBatch: o.NumBatch, NumGPU: o.NumGPU,
		MainGPU: o.MainGPU, UseMMap: o.UseMMap, NumThread: o.NumThread,
	}
	if l.NumCtx == nil && l.NumBatch == nil && l.NumGPU == nil &&
		l.MainGPU == nil && l.UseMMap == nil && l.NumThread == nil {
		return nil
	}
	return &l
}

// WithLoadTime returns o with the load-time options of l. o may be nil.
func (o *Options) WithLoadTime(l *Options) *Options {
	var with Options
	if o != nil {
		with = *o
	}
	with.NumCtx, with.NumBatch, with.NumGPU = l.NumCtx, l.NumBatch, l.NumGPU
	with.MainGPU, with.UseMMap, with.NumThread = l.MainGPU, l.UseMMap, l.NumThread
	return &with
}

// GenerateRequest is the body of POST /api/generate. The client always streams.
type GenerateRequest struct {
	Model     Name            `json:"model"`
	Prompt    string          `json:"prompt,omitempty"`
	Suffix    string          `json:"suffix,omitempty"`
	System    string          `json:"system,omitempty"`
	Images    []string        `json:"images,omitempty"`     // bare base64
	Format    json.RawMessage `json:"format,omitempty"`     // "json" or a JSON Schema
	Think     any             `json:"think,omitempty"`      // nil, a bool, or "low", "medium", "high"
	KeepAlive string          `json:"keep_alive,omitempty"` // a Go duration; "" leaves Ollama's own
	Options   *Options        `json:"options,omitempty"`
	Raw       bool            `json:"raw,omitempty"`
	Truncate  *bool           `json:"truncate,omitempty"` // false turns silent cutting into an error
}

// ChatRequest is the body of POST /api/chat. The client always streams.
type ChatRequest struct {
	Model     Name            `json:"model"`
	Messages  []Message       `json:"messages"`
	Tools     []Tool          `json:"tools,omitempty"`
	Format    json.RawMessage `json:"format,omitempty"`     // "json" or a JSON Schema
	Think     any             `json:"think,omitempty"`      // nil, a bool, or "low", "medium", "high"
	KeepAlive string          `json:"keep_alive,omitempty"` // a Go duration; "" leaves Ollama's own
	Options   *Options        `json:"options,omitempty"`
	Truncate  *bool           `json:"truncate,omitempty"` // false turns silent cutting into an error
}

// Message is one message of a chat.
type Message struct {
	Role      string     `json:"role"`
	Content   string     `json:"content"`
	Thinking  string     `json:"thinking,omitempty"`
	Images    []string   `json:"images,omitempty"` // bare base64
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
	ToolName  string     `json:"tool_name,omitempty"` // for role "tool": which tool answered
}

// ToolCall is a model's wish to have a tool called.
type ToolCall struct {
	Function ToolCallFunction `json:"function"`
}

// ToolCallFunction names the tool and carries its arguments, a JSON object.
type ToolCallFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// Tool is a tool that the model in a chat may ask for.
type Tool struct {
	Type     string       `json:"type"` // "function"
	Function ToolFunction `json:"function"`
}

// ToolFunction describes a [Tool]; Parameters is a JSON Schema.
type ToolFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

// Chunk is what a stream of a generation or chat added since the chunk before it.
// A slow consumer gets fewer, larger chunks: text joins, nothing is lost.
type Chunk struct {
	Text      string     // generate's response, chat's message content
	Thinking  string     // the same of the thinking
	ToolCalls []ToolCall // complete tool calls, chat only
	Tokens    int        // lines of the upstream stream that are in this chunk, about one a token
	Done      *Done      // set on the last chunk of a stream that ended well, and only there
}

// Done is how a generation, chat or load ended, from the last line of its stream.
type Done struct {
	Reason             string        `json:"done_reason"` // stop, length, load, unload
	TotalDuration      time.Duration `json:"total_duration"`
	LoadDuration       time.Duration `json:"load_duration"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration"`
	EvalDuration       time.Duration `json:"eval_duration"`
	PromptEvalCount    int           `json:"prompt_eval_count"`
	PromptCachedCount  *int          `json:"prompt_eval_cached_count"` // nil before Ollama 0.34
	EvalCount          int           `json:"eval_count"`
	RemoteModel        string        `json:"remote_model"` // set when ollama.com ran the model
	RemoteHost         string        `json:"remote_host"`
}

// EmbedRequest is the body of POST /api/embed. No Input loads the model and embeds nothing.
type EmbedRequest struct {
	Model      Name     `json:"model"`
	Input      []string `json:"input"`
	Truncate   *bool    `json:"truncate,omitempty"`
	Dimensions int      `json:"dimensions,omitempty"`
	KeepAlive  string   `json:"keep_alive,omitempty"` // a Go duration; "" leaves Ollama's own
	Options    *Options `json:"options,omitempty"`
}

// EmbedResponse is the answer of POST /api/embed.
type EmbedResponse struct {
	Embeddings      Vectors       `json:"embeddings"`
	TotalDuration   time.Duration `json:"total_duration"`
	LoadDuration    time.Duration `json:"load_duration"`
	PromptEvalCount int           `json:"prompt_eval_count"`
}

// Model is an installed model, from GET /api/tags.
type Model struct {
	Name         string    `json:"name"`
	Size         int64     `json:"size"` // bytes on disk
	Digest       string    `json:"digest"`
	ModifiedAt   time.Time `json:"modified_at"`
	RemoteModel  string    `json:"remote_model"` // set when ollama.com runs the model
	RemoteHost   string    `json:"remote_host"`
	Capabilities []string  `json:"capabilities"` // nil before Ollama 0.30: ask show
	Details      `json:"details"`
}

// Details describes a model's make.
type Details struct {
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
	ContextLength     int      `json:"context_length"`   // 0 before Ollama 0.30
	EmbeddingLength   int      `json:"embedding_length"` // 0 before Ollama 0.30
}

// Running is a loaded model, from GET /api/ps.
type Running struct {
	Name          string    `json:"name"`
	Digest        string    `json:"digest"`
	Size          int64     `json:"size"`      // bytes in use, all memories
	SizeVRAM      int64     `json:"size_vram"` // bytes of it on GPUs
	ExpiresAt     time.Time `json:"expires_at"`
	ContextLength int       `json:"context_length"` // num_ctx in force; 0 before Ollama 0.10
}

// Shown is the answer of POST /api/show.
type Shown struct {
	Details      Details                    `json:"details"`
	Capabilities []string                   `json:"capabilities"`
	ModelInfo    map[string]json.RawMessage `json:"model_info"`
	Parameters   string                     `json:"parameters"` // a line for each: name, blanks, value
	Template     string                     `json:"template"`
	System       string                     `json:"system"`
	License      string                     `json:"license"` // all texts, joined
	Messages     []Message                  `json:"messages"`
	Tensors      []Tensor                   `json:"tensors"` // of ShowFull only
	ModifiedAt   time.Time                  `json:"modified_at"`
	RemoteModel  string                     `json:"remote_model"`
	RemoteHost   string                     `json:"remote_host"`
}

// Tensor is one of a model's matrices.
type Tensor struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"` // "F32", "Q4_K", …
	Shape []uint64 `json:"shape"`
}

// ContextLength is the longest context that the model was made for, in tokens, or 0
// when show does not say.
func (s *Shown) ContextLength() int {
	var architecture string // names the model's own keys: "llama.context_length"
	var n int
	if json.Unmarshal(s.ModelInfo["general.architecture"], &architecture) != nil ||
		json.Unmarshal(s.ModelInfo[architecture+".context_length"], &n) != nil {
		return 0
	}
	return n
}

// CreateRequest is the body of POST /api/create, as far as one model is made of another:
// no files, no adapters, no other hosts. What is empty stays as From has it.
type CreateRequest struct {
	Model      Name      `json:"model"`
	From       Name      `json:"from"`
	System     string    `json:"system,omitempty"`
	Template   string    `json:"template,omitempty"`
	Parameters *Options  `json:"parameters,omitempty"`
	Messages   []Message `json:"messages,omitempty"`
	Quantize   string    `json:"quantize,omitempty"` // "q4_K_M", …; Ollama 0.34 refuses it, older ones do it to F16 and F32
	License    []string  `json:"license,omitempty"`  // added to those of From
}

// Progress is a line of the stream of a pull, push or create. For the layer that it moves
// Ollama writes one every 60 ms, also while nothing moves. [Transfer] adds them up.
type Progress struct {
	Status    string `json:"status"`    // "pulling manifest", "pulling 8eeb52dfb3bb", …, [Success]
	Digest    string `json:"digest"`    // of the layer that Total and Completed are about, or ""
	Total     int64  `json:"total"`     // bytes
	Completed int64  `json:"completed"` // bytes; a retry may take it back
}

// Success is the Status of the last line of a stream that ended well, and only of that.
const Success = "success"
