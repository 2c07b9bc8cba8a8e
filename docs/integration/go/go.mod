module nbd-integration

go 1.19
