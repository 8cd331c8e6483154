"""Train an autoencoder: python train.py [GROUP=OPTION ...] [KEY=VALUE ...]; see README.md."""

from aeframe.cli.train import train

if __name__ == "__main__":
    train()
