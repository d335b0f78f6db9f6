module github.com/signet-go/signet/integration

go 1.26.0

require github.com/signet-go/signet v0.1.0

replace github.com/signet-go/signet => ../
