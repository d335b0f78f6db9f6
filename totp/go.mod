module github.com/signet-go/signet/totp

go 1.26.0

require (
	github.com/pquerna/otp v1.5.0
	github.com/signet-go/signet v0.1.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/boombuler/barcode v1.0.1-0.20190219062509-6c824513bacc // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/signet-go/signet => ../
